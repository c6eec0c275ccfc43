"""Login sessions with rotating refresh tokens. Ending a session ends its refresh token and its access tokens."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, delete, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now
from .errors import Unauthorized
from .tokens import Claims

# How long the rows of abandoned sessions are kept; longer than any access token lives.
KEPT = timedelta(days=1)


class LoginSession(Base):
    """One login: while the row is there, its tokens are good. Of its refresh tokens only the newest is."""

    __tablename__ = "login_sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    # The id alone opens nothing: a token also needs the signature. So nobody can log in with what the table holds.
    refresh_id: Mapped[uuid.UUID]
    refresh_until: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


async def open_session(db: AsyncSession, user_id: uuid.UUID, ttl_s: int) -> Claims:
    """A new session; the claims are those of its first refresh token. The user's abandoned sessions are removed."""
    now = utc_now()
    abandoned = (LoginSession.user_id == user_id, LoginSession.refresh_until < now - KEPT)
    await db.execute(delete(LoginSession).where(*abandoned))
    claims = Claims(user_id, session_id=uuid.uuid4(), token_id=uuid.uuid4())
    until = now + timedelta(seconds=ttl_s)
    db.add(LoginSession(id=claims.session_id, user_id=user_id, refresh_id=claims.token_id, refresh_until=until))
    await db.flush()
    return claims


async def rotate(sessionmaker: async_sessionmaker[AsyncSession], used: Claims, ttl_s: int) -> Claims:
    """Exchange a genuine refresh token for the next one. A token that was exchanged before ends its session.

    It has a transaction of its own: raising inside the request's would roll back the end of the session.
    """
    fresh = replace(used, token_id=uuid.uuid4())
    # One statement compares and replaces, so that of several uses at the same moment only one can win.
    exchange = (
        update(LoginSession)
        .where(LoginSession.id == used.session_id, LoginSession.refresh_id == used.token_id)
        .values(refresh_id=fresh.token_id, refresh_until=utc_now() + timedelta(seconds=ttl_s))
        .returning(LoginSession.id)
    )
    async with sessionmaker() as db, db.begin():
        exchanged = await db.scalar(exchange)
        if exchanged is None:
            await db.execute(delete(LoginSession).where(LoginSession.id == used.session_id))
    if exchanged is None:
        raise Unauthorized("Invalid token")
    return fresh


async def end_session(db: AsyncSession, claims: Claims) -> None:
    """Log out with any refresh token of the session, the newest or an older one."""
    ended = delete(LoginSession).where(LoginSession.id == claims.session_id).returning(LoginSession.id)
    if await db.scalar(ended) is None:
        raise Unauthorized("Invalid token")


async def end_other_sessions(db: AsyncSession, user_id: uuid.UUID, kept: uuid.UUID) -> None:
    """After a change of the password: whoever knew the old one is out."""
    await db.execute(delete(LoginSession).where(LoginSession.user_id == user_id, LoginSession.id != kept))
