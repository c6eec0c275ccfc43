"""Limits failed logins by account, whatever address they come from. In the database, so that all workers share it."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import String, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now
from .errors import TooManyRequests

LIMIT = 5
WINDOW = timedelta(minutes=5)
SWEPT_AT_ONCE = 20


class LoginAttempt(Base):
    """An account has LIMIT slots. An attempt takes one; a success gives it back, a failure leaves it for WINDOW."""

    __tablename__ = "login_attempts"

    # A digest: bounded, storable whatever was typed, and no list of addresses.
    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    slot: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    taken_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class Attempt:
    account: str
    slot: int
    taken_at: datetime


async def begin_attempt(sessionmaker: async_sessionmaker[AsyncSession], name: str) -> Attempt:
    """Call it before the password is looked at, with the name of an account, existing or not. Raises TooManyRequests.

    The slot is taken and committed first, else a burst of guesses would be checked before the first failure counts.
    """
    account = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    async with sessionmaker() as db, db.begin():
        now = utc_now()
        counted = await _counted(db, account, now)
        for slot in set(range(LIMIT)) - set(counted):
            if await _take(db, account, slot, now):
                return Attempt(account, slot, now)
    free_in = min(counted.values(), default=now) + WINDOW - now
    raise TooManyRequests("Too many failed logins", retry_after_s=math.ceil(free_in.total_seconds()))


async def succeed(db: AsyncSession, attempt: Attempt) -> None:
    """Give the slot back: a login that worked is no failure. Earlier failures still count."""
    mine = (attempt.account, attempt.slot, attempt.taken_at)
    columns = tuple_(LoginAttempt.account, LoginAttempt.slot, LoginAttempt.taken_at)
    await db.execute(delete(LoginAttempt).where(columns == mine))


async def sweep(sessionmaker: async_sessionmaker[AsyncSession]) -> None:
    """Remove some rows that no longer count. Called after a failure, it keeps the table as small as the attack."""
    old = LoginAttempt.taken_at <= utc_now() - WINDOW
    key = (LoginAttempt.account, LoginAttempt.slot)
    some = select(*key).where(old).limit(SWEPT_AT_ONCE).with_for_update(skip_locked=True)
    async with sessionmaker() as db, db.begin():
        await db.execute(delete(LoginAttempt).where(tuple_(*key).in_(some), old))


async def _counted(db: AsyncSession, account: str, now: datetime) -> dict[int, datetime]:
    """The slots that are taken, and since when."""
    taken = select(LoginAttempt.slot, LoginAttempt.taken_at).where(
        LoginAttempt.account == account, LoginAttempt.taken_at > now - WINDOW
    )
    return {row.slot: row.taken_at for row in await db.execute(taken)}


async def _take(db: AsyncSession, account: str, slot: int, now: datetime) -> bool:
    """Take the slot if it is free or its failure too old. One statement, so that two attempts can't share it."""
    dialect = postgresql if db.get_bind().dialect.name == "postgresql" else sqlite
    statement = (
        dialect.insert(LoginAttempt)
        .values(account=account, slot=slot, taken_at=now)
        .on_conflict_do_update(
            index_elements=["account", "slot"],
            set_={"taken_at": now},
            where=LoginAttempt.taken_at <= now - WINDOW,
        )
        .returning(LoginAttempt.slot)
    )
    return await db.scalar(statement) is not None
