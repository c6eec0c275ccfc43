"""Idempotency keys: a client may send a POST again and it happens once.

The key's row is part of the request's own transaction: what was done and the proof that it was done come together or
not at all. Import this module where routes use it, so that its table is created.

    @router.post("", status_code=201, responses=problems(422))
    async def order(body: OrderIn, db: DB, user: CurrentUser, once: Once, response: Response) -> OrderOut:
        async def work() -> OrderOut:
            order = Order(owner_id=user.id, **body.model_dump())
            db.add(order)
            await db.flush()
            return OrderOut.model_validate(order)

        made = await once(db, str(user.id), OrderOut, work)
        response.headers["Location"] = f"/orders/{made.id}"
        return made
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import structlog
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel, StringConstraints, ValidationError
from sqlalchemy import String, Text, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now
from .errors import Conflict, Invalid

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=BaseModel)

LIFETIME = timedelta(hours=24)
# How long a second request waits for the first of its key; then it is a 503 with Retry-After.
WAIT = timedelta(seconds=5)
SWEPT_AT_ONCE = 20


class IdempotencyRecord(Base):
    """What a key was used for and what was answered; when an account goes, its records go (`caller`)."""

    __tablename__ = "idempotency_records"

    caller: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    # A digest of method, path, query and body.
    request: Mapped[str] = mapped_column(String(64))
    # The response model as JSON. None only inside the transaction that is still at work.
    answer: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class KeyReused(Invalid):
    code, default_detail = "idempotency_key_reused", "This Idempotency-Key was used for another request"


@dataclass(frozen=True)
class _Once:
    """Does the work of one request at most once for each caller and key."""

    key: str | None
    request: Request
    response: Response

    async def __call__(self, db: AsyncSession, caller: str, kind: type[T], work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns, or returned when this request came for the first time; `kind` is its class.

        Call it before the first statement that locks anything. `caller` is whose key it is: the user's id, at most 64
        characters. Nothing is kept of work that raises: it was rolled back, so the next try does it. Raises KeyReused.
        """
        if self.key is None:
            return await work()
        request = await self._digest()
        if not await _claim(db, caller, self.key, request):
            return await self._replay(db, caller, request, kind)
        result = await work()
        mine = (IdempotencyRecord.caller == caller, IdempotencyRecord.key == self.key)
        await db.execute(update(IdempotencyRecord).where(*mine).values(answer=result.model_dump_json(round_trip=True)))
        await _sweep(db)
        return result

    async def _digest(self) -> str:
        """Of JSON bodies; a form's can't be read a second time, and its boundary differs at each try."""
        digest = hashlib.sha256()
        for part in (self.request.method, self.request.url.path, self.request.url.query):
            digest.update(f"{len(part)}:{part}".encode())
        digest.update(await self.request.body())
        return digest.hexdigest()

    async def _replay(self, db: AsyncSession, caller: str, request: str, kind: type[T]) -> T:
        record = await db.get_one(IdempotencyRecord, (caller, self.key))
        if record.request != request:
            raise KeyReused
        try:
            result = kind.model_validate_json(record.answer or "", by_name=True)
        except ValidationError:
            # A release changed the response model meanwhile. Doing the work again would be worse.
            log.warning("stored answer does not fit the response model", model=kind.__name__)
            raise Conflict("This request was carried out; its answer can't be repeated") from None
        self.response.headers["Idempotency-Replayed"] = "true"
        return result


_Key = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
_HEADER = Header(
    alias="Idempotency-Key", description="A random value for each new request, the same when it is sent again"
)


async def _once(request: Request, response: Response, key: Annotated[_Key | None, _HEADER] = None) -> _Once:
    return _Once(key, request, response)


async def _once_required(request: Request, response: Response, key: Annotated[_Key, _HEADER]) -> _Once:
    return _Once(key, request, response)


# Without the header the work is done each time; use OnceRequired where a second time does harm, as with payments.
Once = Annotated[_Once, Depends(_once)]
OnceRequired = Annotated[_Once, Depends(_once_required)]


async def _claim(db: AsyncSession, caller: str, key: str, request: str) -> bool:
    """True if the key was free or expired. A request with the same key waits here until this transaction ends."""
    if postgresql_used := db.get_bind().dialect.name == "postgresql":
        # For the rest of the transaction: waiting requests hold connections. SQLite has a limit of its own.
        await db.execute(select(func.set_config("lock_timeout", f"{WAIT.total_seconds():.0f}s", True)))
    now = utc_now()
    fresh = {"request": request, "answer": None, "expires_at": now + LIFETIME}
    statement = (
        (postgresql if postgresql_used else sqlite)
        .insert(IdempotencyRecord)
        .values(caller=caller, key=key, **fresh)
        .on_conflict_do_update(index_elements=["caller", "key"], set_=fresh, where=IdempotencyRecord.expires_at <= now)
        .returning(IdempotencyRecord.key)
    )
    return await db.scalar(statement) is not None


async def _sweep(db: AsyncSession) -> None:
    """Each new key removes some expired ones, so that the table does not grow. It waits for nobody."""
    row = (IdempotencyRecord.caller, IdempotencyRecord.key)
    expired = IdempotencyRecord.expires_at <= utc_now()
    oldest = select(*row).where(expired).order_by(IdempotencyRecord.expires_at).limit(SWEPT_AT_ONCE)
    # Two statements: the second finds its rows by key, which one with a subquery does only while statistics are fresh.
    keys = [tuple(found) for found in await db.execute(oldest.with_for_update(skip_locked=True))]
    if keys:
        await db.execute(delete(IdempotencyRecord).where(tuple_(*row).in_(keys)))
