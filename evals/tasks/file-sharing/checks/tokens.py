"""Tokens as the other service issues them, and as nobody should accept them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def joined(header: dict[str, Any], claims: Any, key: str | None) -> str:
    """Signed with HMAC-SHA256 whatever the header says, or not at all."""
    parts = [_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    message = ".".join(parts)
    if key is None:
        return message + "."
    return message + "." + _encoded(hmac.new(key.encode(), message.encode(), hashlib.sha256).digest())


def issued(claims: Any, key: str) -> str:
    return joined({"alg": "HS256", "typ": "JWT"}, claims, key)


def claims(subject: Any, life_s: float = 3600) -> dict[str, Any]:
    return {"sub": subject, "exp": int(time.time() + life_s)}
