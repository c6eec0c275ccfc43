"""Who calls, told by the token of another service. This one verifies and never issues."""

import re
from typing import Annotated, Final

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from .errors import Unauthorized
from .upload_settings import UploadSettings

ALGORITHMS: Final = ["HS256"]
MAX_SUBJECT: Final = 255
# A database refuses NUL and lone surrogates.
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

scheme = HTTPBearer(bearerFormat="JWT")


async def current_user(request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(scheme)]) -> str:
    """The caller's id, exactly as the token says it: trimmed or lower-cased, two users could become one."""
    settings: UploadSettings = request.app.state.settings
    return subject_of(credentials.credentials, settings.secret_key.get_secret_value())


UserId = Annotated[str, Depends(current_user)]


def subject_of(token: str, key: str) -> str:
    """The `sub` of a valid token. Raises Unauthorized, always with the same words."""
    try:
        # PyJWT takes a token without exp unless exp is required.
        claims = jwt.decode(token, key, algorithms=ALGORITHMS, options={"require": ["exp", "sub"]})
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):
        raise Unauthorized("The token is not valid") from None
    subject: str = claims["sub"]
    if not 1 <= len(subject) <= MAX_SUBJECT or _UNUSABLE.search(subject):
        raise Unauthorized("The token is not valid")
    return subject
