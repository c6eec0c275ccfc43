"""JSON Web Tokens by hand, to look into them and to forge them."""

import base64
import hashlib
import hmac
import json
from typing import Any


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(decoded(token.split(".", maxsplit=1)[0]))
    return header


def claims_of(token: str) -> dict[str, Any]:
    assert token.count(".") == 2, "the access token is not a JWT"
    claims: dict[str, Any] = json.loads(decoded(token.split(".")[1]))
    return claims


def signature(head_and_payload: str, key: str) -> str:
    return encoded(hmac.new(key.encode(), head_and_payload.encode(), hashlib.sha256).digest())


def signed(header: dict[str, Any], claims: dict[str, Any], key: str) -> str:
    body = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{body}.{signature(body, key)}"


def with_claims(token: str, claims: dict[str, Any], key: str) -> str:
    """The token with other claims, signed with `key`."""
    return signed(header_of(token), claims, key)
