"""Register, log in, refresh, log out."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, Field, SecretStr
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from .auth_settings import AuthSettings
from .database import DB
from .errors import Conflict, Unauthorized, problems
from .fields import In
from .first_account import role_of_new_account
from .passwords import Hashing
from .sessions import end_session, open_session, rotate
from .throttle import begin_attempt, succeed, sweep
from .tokens import Claims, Purpose, issue_token, read_token
from .users import RegisterIn, User, UserOut, account_name

router = APIRouter(prefix="/auth", tags=["auth"])


class RefreshIn(In):
    refresh_token: Annotated[SecretStr, Field(max_length=1000)]


class TokenPair(BaseModel):
    """RFC 6749, 5.1."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = Field(default="bearer")
    expires_in: int


@router.post("/register", status_code=201, responses=problems(409, 422))
async def register(body: RegisterIn, db: DB, passwords: Hashing) -> UserOut:
    """Add an account."""
    # Before the first statement: while argon2 runs, no connection is held.
    password_hash = await passwords.hash(body.password.get_secret_value())
    role = await role_of_new_account(db)
    user = User(email=body.email, full_name=body.full_name, password_hash=password_hash, role=role)
    db.add(user)
    try:
        # The unique index decides; a look before the insert would be a race.
        await db.flush()
    except IntegrityError:
        raise Conflict("This address is already registered") from None
    return UserOut.model_validate(user)


@router.post("/login", responses=problems(401, 422, 429))
async def login(
    request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()], db: DB, passwords: Hashing
) -> TokenPair:
    """Exchange an address and a password for tokens. Unknown addresses take the same way as known ones."""
    sessionmaker = request.app.state.sessionmaker
    name = account_name(form.username)
    attempt = await begin_attempt(sessionmaker, name)
    user = await find_user(sessionmaker, name)
    right, renewed = await passwords.verify(form.password, user.password_hash if user else None)
    if user is None or not right:
        await sweep(sessionmaker)
        raise Unauthorized("Wrong address or password")
    await succeed(db, attempt)
    if renewed:
        # Only over the hash that was verified: the password may have been changed meanwhile.
        same = (User.id == user.id, User.password_hash == user.password_hash)
        await db.execute(update(User).where(*same).values(password_hash=renewed))
    settings: AuthSettings = request.app.state.settings
    return token_pair(settings, await open_session(db, user.id, settings.refresh_token_ttl_s))


@router.post("/refresh", responses=problems(401, 422))
async def refresh(request: Request, body: RefreshIn) -> TokenPair:
    """Exchange a refresh token for a new pair. Using one twice ends the session."""
    settings: AuthSettings = request.app.state.settings
    used = read_token(settings, Purpose.REFRESH, body.refresh_token.get_secret_value())
    return token_pair(settings, await rotate(request.app.state.sessionmaker, used, settings.refresh_token_ttl_s))


@router.post("/logout", status_code=204, responses=problems(401, 422))
async def logout(request: Request, body: RefreshIn, db: DB) -> None:
    """End the session of the refresh token, access tokens included."""
    token = body.refresh_token.get_secret_value()
    await end_session(db, read_token(request.app.state.settings, Purpose.REFRESH, token))


async def find_user(sessionmaker: async_sessionmaker[AsyncSession], name: str) -> User | None:
    """In a session of its own, so that its connection is free again while argon2 runs."""
    # PostgreSQL takes no NUL, and nobody is registered with a control character.
    if not name.isprintable():
        return None
    async with sessionmaker() as db:
        return await db.scalar(select(User).where(User.email == name))


def token_pair(settings: AuthSettings, claims: Claims) -> TokenPair:
    return TokenPair(
        access_token=issue_token(settings, Purpose.ACCESS, claims),
        refresh_token=issue_token(settings, Purpose.REFRESH, claims),
        expires_in=settings.access_token_ttl_s,
    )
