"""Signed tokens, for two purposes: short-lived access tokens, and refresh tokens that work once (see sessions.py)."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import jwt

from .auth_settings import AuthSettings
from .database import utc_now
from .errors import Unauthorized

ALGORITHM = "HS256"


class Purpose(StrEnum):
    """Told apart by the claim `typ`; without it a refresh token would be an access token that lives for weeks."""

    ACCESS = "access"
    REFRESH = "refresh"


@dataclass(frozen=True)
class Claims:
    """Whose token it is, of which session, and which of its tokens."""

    user_id: uuid.UUID
    session_id: uuid.UUID
    token_id: uuid.UUID


def lifetime_s(settings: AuthSettings, purpose: Purpose) -> int:
    return settings.access_token_ttl_s if purpose is Purpose.ACCESS else settings.refresh_token_ttl_s


def issue_token(settings: AuthSettings, purpose: Purpose, claims: Claims) -> str:
    now = utc_now()
    payload = {
        # RFC 7519 wants a string; PyJWT refuses a token whose sub is a number.
        "sub": str(claims.user_id),
        "sid": str(claims.session_id),
        "jti": str(claims.token_id),
        "typ": purpose,
        "iat": now,
        "exp": now + timedelta(seconds=lifetime_s(settings, purpose)),
    }
    return jwt.encode(payload, settings.secret_key.get_secret_value(), algorithm=ALGORITHM)


def read_token(settings: AuthSettings, purpose: Purpose, token: str) -> Claims:
    """The claims of a genuine token for this purpose, else Unauthorized. Its session may have ended nevertheless."""
    try:
        payload = jwt.decode(
            token,
            settings.secret_key.get_secret_value(),
            algorithms=[ALGORITHM],
            # Without `require`, a token that has no exp never expires.
            options={"require": ["exp", "iat", "sub", "sid", "jti", "typ"]},
        )
        if payload["typ"] != purpose:
            raise Unauthorized("Invalid token")
        return Claims(uuid.UUID(payload["sub"]), uuid.UUID(payload["sid"]), uuid.UUID(payload["jti"]))
    # ValueError also when JSON brought a lone surrogate; the other two for claims of other types.
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        raise Unauthorized("Invalid token") from None
