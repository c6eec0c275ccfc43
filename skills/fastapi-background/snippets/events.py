"""A feed of events from a table: every worker process sees all of them, and a client that comes back misses none.

`await emit(db, topic, "order.paid", {...})` in the transaction of the change; in the lifespan
`async with Feed(sessionmaker) as app.state.feed, on_stop_signal(app.state.feed.close): yield`.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import structlog
from fastapi.sse import ServerSentEvent
from sqlalchemy import JSON, BigInteger, Index, Integer, String, delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now
from .errors import TooManyRequests

log = structlog.get_logger(__name__)

BATCH = 100
# Events for a client that reads more slowly than they come; it gets the rest from the table.
QUEUED = 100
CLIENTS_PER_TOPIC = 10
# A stream ends after this time, and the client comes back with a token that is looked at anew.
MAX_AGE_S = 300
KEPT = timedelta(days=1)
LOCK = 7_331_226


class FeedEvent(Base):
    __tablename__ = "feed_events"
    # Ids of removed rows must not come back.
    __table_args__ = (Index("ix_feed_events_topic_id", "topic", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    topic: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(50))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)


@dataclass(frozen=True)
class Event:
    id: int
    topic: str
    kind: str
    data: dict[str, Any]

    def to_sse(self) -> ServerSentEvent:
        return ServerSentEvent(data=self.data, event=self.kind, id=str(self.id))


async def emit(db: AsyncSession, topic: str, kind: str, data: Mapping[str, Any]) -> None:
    """Add an event that is seen if and only if the transaction commits. Call it last: until then others wait.

    Without the lock a transaction could commit a smaller id after a larger one was read, and its event would be missed.
    """
    if db.get_bind().dialect.name == "postgresql":
        await db.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    await db.execute(insert(FeedEvent).values(topic=topic, kind=kind, data=dict(data)))


async def purge_events(db: AsyncSession) -> None:
    """Call it once an hour, as a job. A client that was away for longer gets the event `reset`."""
    await db.execute(delete(FeedEvent).where(FeedEvent.created_at < utc_now() - KEPT))


class _Client:
    """What waits for one stream: at most QUEUED events, or None when the stream has to end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUED)
        self.overflowed = False

    def offer(self, event: Event) -> None:
        # Once one is left out, those after it are too: the table has them in order.
        if self.overflowed or self.queue.full():
            self.overflowed = True
        else:
            self.queue.put_nowait(event)

    async def next(self, ends_at: float) -> Event | None:
        try:
            async with asyncio.timeout_at(ends_at):
                return await self.queue.get()
        except TimeoutError:
            return None

    def end(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Feed:
    """Asks the table for new events, once for all streams of this process, every `poll_s` seconds."""

    def __init__(self, sessionmaker: async_sessionmaker[AsyncSession], *, poll_s: float = 0.5) -> None:
        self._sessionmaker = sessionmaker
        self._poll_s = poll_s
        self._clients: defaultdict[str, set[_Client]] = defaultdict(set)
        self._closing = asyncio.Event()
        self._last = 0

    async def __aenter__(self) -> Self:
        async with self._sessionmaker() as db:
            self._last = await db.scalar(select(func.max(FeedEvent.id))) or 0
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await self._reader

    def close(self) -> None:
        """End all streams; clients come back to another process."""
        self._closing.set()
        for clients in self._clients.values():
            for client in clients:
                client.end()

    def check_room(self, topic: str) -> None:
        """Raises TooManyRequests. Call it before the stream begins: after that no status can be sent."""
        if len(self._clients.get(topic, ())) >= CLIENTS_PER_TOPIC:
            raise TooManyRequests("Too many open streams")

    async def stream(self, topic: str, last_seen: int | None) -> AsyncIterator[ServerSentEvent]:
        """Everything after `last_seen`, the Last-Event-ID of a client that comes back; else from now on.

        FastAPI sends a comment every 15 seconds in between, and cancels it when the client is gone.
        """
        ends_at = asyncio.get_running_loop().time() + MAX_AGE_S
        client = _Client()
        # Both at this moment, before anything else can run: so nothing falls between the table and the queue.
        self._clients[topic].add(client)
        cursor = self._last if last_seen is None else last_seen
        try:
            # Not all of them come back at the same moment after a restart.
            yield ServerSentEvent(comment="open", retry=1000 + secrets.randbelow(4000))
            if last_seen is not None and await self._is_purged(last_seen):
                yield ServerSentEvent(event="reset", data={})
            while True:
                while stored := await self._stored(cursor, topic):
                    for event in stored:
                        cursor = event.id
                        yield event.to_sse()
                while not (client.overflowed and client.queue.empty()):
                    queued = await client.next(ends_at)
                    if queued is None:
                        return
                    if queued.id > cursor:
                        cursor = queued.id
                        yield queued.to_sse()
                client.overflowed = False
        finally:
            self._clients[topic].discard(client)
            if not self._clients[topic]:
                del self._clients[topic]

    async def _read(self) -> None:
        while not self._closing.is_set():
            try:
                found = await self._stored(self._last)
            except Exception:
                # The loop outlives a database that is away, and whatever else it meets.
                log.exception("the feed could not be read")
                found = []
            for event in found:
                self._last = event.id
                for client in self._clients.get(event.topic, ()):
                    client.offer(event)
            if len(found) < BATCH:
                await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._poll_s)

    async def _stored(self, after: int, topic: str | None = None) -> Sequence[Event]:
        query = select(FeedEvent.id, FeedEvent.topic, FeedEvent.kind, FeedEvent.data).where(FeedEvent.id > after)
        if topic is not None:
            query = query.where(FeedEvent.topic == topic)
        # A session for each query: a stream that waits must not hold a connection.
        async with self._sessionmaker() as db:
            rows = await db.execute(query.order_by(FeedEvent.id).limit(BATCH))
            return [Event(*row) for row in rows]

    async def _is_purged(self, last_seen: int) -> bool:
        async with self._sessionmaker() as db:
            oldest = await db.scalar(select(func.min(FeedEvent.id)))
        return oldest is None or oldest > last_seen + 1
