"""Signatures of webhooks as standardwebhooks.com defines them, so that receivers can use a library that they have.

Signed is `id.timestamp.body`: the id stays the same at each attempt and tells repeats apart, the timestamp is the
attempt's and bounds how long a recorded request can be sent again.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
TOLERANCE_S = 300
MAX_SIGNATURES = 10

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


class BadSignature(Exception):
    """The request was not signed with one of the secrets, or not now."""


def show_secret(raw: bytes) -> str:
    """The form in which secrets are handed out."""
    return PREFIX + base64.b64encode(raw).decode()


def read_secret(shown: str) -> bytes:
    """Raises ValueError, which doesn't repeat the secret."""
    try:
        raw = base64.b64decode(shown.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is {PREFIX} and base64") from None
    if len(raw) < 24:
        raise ValueError("a webhook secret has at least 24 bytes")
    return raw


def sign(secrets: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt; several secrets while one replaces another."""
    signatures = (f"v1,{_digest(secret, message_id, str(timestamp), body)}" for secret in secrets)
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def verify(secrets: Iterable[bytes], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The id of a genuine request. `body` is what arrived, byte for byte; `now` seconds since the epoch."""
    message_id, timestamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not _ID.fullmatch(message_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise BadSignature
    expected = [_digest(secret, message_id, timestamp, body).encode() for secret in secrets]
    given = [part[3:].encode() for part in headers.get(SIGNATURE, "").split(" ")[:MAX_SIGNATURES] if part[:3] == "v1,"]
    # compare_digest takes the same time wherever two differ; `==` would tell how much of a guess is right.
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        raise BadSignature
    return message_id


def _digest(secret: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
