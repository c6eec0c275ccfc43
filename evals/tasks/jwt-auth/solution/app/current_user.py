"""Who is calling: dependencies for routes that need a user, or a user with a role."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select
from starlette.requests import HTTPConnection

from .database import DB
from .errors import Forbidden, Unauthorized
from .sessions import LoginSession
from .tokens import Purpose, read_token
from .users import Role, User

# It answers 401 by itself when the header is missing.
bearer_token = OAuth2PasswordBearer(tokenUrl="/auth/login", refreshUrl="/auth/refresh")


@dataclass(frozen=True)
class Caller:
    user: User
    session_id: uuid.UUID


async def get_caller(connection: HTTPConnection, db: DB, token: Annotated[str, Depends(bearer_token)]) -> Caller:
    """The token is valid, its session has not ended and its user is still there: one query asks both."""
    claims = read_token(connection.app.state.settings, Purpose.ACCESS, token)
    user = await db.scalar(
        select(User)
        .join(LoginSession, LoginSession.user_id == User.id)
        .where(User.id == claims.user_id, LoginSession.id == claims.session_id)
    )
    if user is None:
        raise Unauthorized("Invalid token")
    return Caller(user, claims.session_id)


CurrentCaller = Annotated[Caller, Depends(get_caller)]


async def get_user(caller: CurrentCaller) -> User:
    return caller.user


CurrentUser = Annotated[User, Depends(get_user)]


def require_role(*roles: Role) -> Callable[[User], Awaitable[User]]:
    """`Annotated[User, Depends(require_role(Role.ADMIN))]`. The role is the database's, never the token's."""

    async def allowed(user: CurrentUser) -> User:
        if user.role not in roles:
            raise Forbidden
        return user

    return allowed


AdminUser = Annotated[User, Depends(require_role(Role.ADMIN))]
