"""Jobs in the service's own database: written in the request's transaction, run at least once by a worker.

`await enqueue(db, "welcome", {"user_id": str(user.id)})` in a route; in the lifespan, or in a process of its own,
`async with Worker(sessionmaker, {"welcome": send_welcome}): ...`.
"""

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import structlog
from asgi_correlation_id import correlation_id
from sqlalchemy import JSON, Index, String, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now

log = structlog.get_logger(__name__)

# Over about five hours.
MAX_ATTEMPTS = 16
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)
# How much longer than its time limit a job belongs to its worker: for the commit, and for clocks that differ.
LEASE_MARGIN = timedelta(seconds=15)
UNFAILED = text("failed_at IS NULL")


class Job(Base):
    """A row is there until its work is done. It is taken when `due_at` has come, and then due again after the lease."""

    __tablename__ = "jobs"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Of several with the same key only one waits or runs at a time.
    key: Mapped[str | None] = mapped_column(String(200), unique=True)
    request_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    lease: Mapped[uuid.UUID | None]
    failed_at: Mapped[datetime | None]
    # The class of the last error. Its text may hold what must not be kept.
    error: Mapped[str | None] = mapped_column(String(100))

    # Failed rows stay, and must not slow the search for the next one.
    __table_args__ = (Index("ix_jobs_due", "due_at", postgresql_where=UNFAILED, sqlite_where=UNFAILED),)


@dataclass(frozen=True)
class Claim:
    """A job that this worker may run until its lease ends. `id` stays the same at each attempt."""

    id: uuid.UUID
    kind: str
    payload: dict[str, Any]
    attempt: int
    lease: uuid.UUID
    request_id: str | None


# What it does with `db` is committed together with the job's end, so it happens once; anything else may happen twice.
Handler = Callable[[AsyncSession, Claim], Awaitable[None]]


UNTRIED = {"attempts": Job.attempts - 1}


class GiveUp(Exception):
    """Raised by a handler when no further attempt can succeed. The row is kept as failed."""


class LeaseLost(Exception):
    """Another worker has the job by now: what this one did in the database is rolled back."""


@dataclass(frozen=True)
class Backlog:
    """For metrics and alerts: jobs that wait or run, jobs given up, how long the most overdue one has waited."""

    waiting: int
    failed: int
    overdue_s: float


async def enqueue(
    db: AsyncSession, kind: str, payload: Mapping[str, Any], *, key: str | None = None, due_at: datetime | None = None
) -> bool:
    """Add a job that exists if and only if the transaction commits. False: one with this key is there already.

    `payload` is JSON: ids rather than rows, which change meanwhile, and no secrets.
    """
    dialect = postgresql if db.get_bind().dialect.name == "postgresql" else sqlite
    row = {
        "kind": kind,
        "payload": dict(payload),
        "key": key,
        "request_id": correlation_id.get(),
        "due_at": due_at or utc_now(),
    }
    if key is None:
        await db.execute(insert(Job).values(row))
        return True
    added = dialect.insert(Job).values(row).on_conflict_do_nothing(index_elements=["key"]).returning(Job.id)
    return await db.scalar(added) is not None


async def retry_failed(db: AsyncSession, job_id: uuid.UUID) -> bool:
    """Give a job that was given up all its attempts again. False: there is no such job."""
    again = {"failed_at": None, "attempts": 0, "due_at": utc_now(), "lease": None}
    statement = update(Job).where(Job.id == job_id, Job.failed_at.is_not(None)).values(again).returning(Job.id)
    return await db.scalar(statement) is not None


async def backlog(db: AsyncSession) -> Backlog:
    waiting, failed = (
        await db.execute(
            select(
                func.count().filter(Job.failed_at.is_(None)),
                func.count().filter(Job.failed_at.is_not(None)),
            ).select_from(Job)
        )
    ).one()
    oldest = await db.scalar(select(func.min(Job.due_at)).where(Job.failed_at.is_(None)))
    overdue = (utc_now() - oldest).total_seconds() if oldest else 0
    return Backlog(waiting, failed, max(0.0, overdue))


class Worker:
    """Runs jobs of the kinds in `handlers` until the `async with` block is left.

    Leaving it waits `grace_s` for running jobs, then cancels them and puts them back. `timeout_s` bounds each attempt;
    give slow kinds a worker of their own. A handler that blocks the event loop blocks everything in the process.
    """

    def __init__(
        self,
        sessionmaker: async_sessionmaker[AsyncSession],
        handlers: Mapping[str, Handler],
        *,
        concurrency: int = 4,
        timeout_s: float = 60,
        grace_s: float = 10,
        poll_s: float = 1,
    ) -> None:
        self._sessionmaker = sessionmaker
        self._handlers = dict(handlers)
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._poll_s = poll_s
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._dispatcher = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        await asyncio.wait({self._dispatcher, *self._running}, timeout=self._grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._dispatcher

    async def _dispatch(self) -> None:
        while not self._stopping.is_set():
            await self._slots.acquire()
            job = None if self._stopping.is_set() else await self._next()
            if job is None:
                self._slots.release()
                await self._pause()
            elif self._stopping.is_set():
                await self._put_back(job, UNTRIED | {"due_at": utc_now()})
            else:
                task = asyncio.create_task(self._run(job))
                self._running.add(task)
                task.add_done_callback(self._ended)

    async def _pause(self) -> None:
        # Not all workers at the same moment.
        wait_s = self._poll_s * (0.5 + secrets.SystemRandom().random())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _next(self) -> Claim | None:
        try:
            async with self._sessionmaker() as db, db.begin():
                return await _claim(db, tuple(self._handlers), timedelta(seconds=self._timeout_s) + LEASE_MARGIN)
        except Exception:
            # The loop outlives a database that is away, and whatever else it meets.
            log.exception("no job could be claimed")
            return None

    async def _run(self, job: Claim) -> None:
        correlation_id.set(job.request_id)
        try:
            if job.attempt > MAX_ATTEMPTS:
                # Nobody reported a failure: each worker that had it died, so it may be what killed them.
                raise GiveUp("its workers died")
            async with asyncio.timeout(self._timeout_s), self._sessionmaker() as db:
                await self._handlers[job.kind](db, job)
                await _finish(db, job)
                await db.commit()
        except asyncio.CancelledError:
            # The shutdown took it: this was no attempt.
            await self._put_back(job, UNTRIED | {"due_at": utc_now()})
            raise
        except LeaseLost:
            log.warning("the job's lease ended before its work did", job=str(job.id), kind=job.kind)
        except Exception as error:
            final = isinstance(error, GiveUp) or job.attempt >= MAX_ATTEMPTS
            log.exception("job failed", job=str(job.id), kind=job.kind, attempt=job.attempt, final=final)
            outcome = {"failed_at": utc_now()} if final else {"due_at": utc_now() + wait_after(job.attempt)}
            await self._put_back(job, outcome | {"error": type(error).__name__[:100]})

    async def _put_back(self, job: Claim, values: Mapping[str, Any]) -> None:
        try:
            async with self._sessionmaker() as db, db.begin():
                await db.execute(update(Job).where(*_mine(job)).values(lease=None, **values))
        except (SQLAlchemyError, OSError):
            log.exception("the job stays leased until its lease ends", job=str(job.id))


def wait_after(attempt: int) -> timedelta:
    """Doubles from FIRST_WAIT to LONGEST_WAIT; by chance up to half of it less, so that retries spread."""
    full = min(FIRST_WAIT * (1 << min(attempt - 1, 20)), LONGEST_WAIT)
    return full * secrets.SystemRandom().uniform(0.5, 1)


async def _claim(db: AsyncSession, kinds: tuple[str, ...], lease: timedelta) -> Claim | None:
    """Take the job that has been due longest.

    One statement on every database: PostgreSQL skips the rows that others hold, and SQLite, where FOR UPDATE is left
    out, has one writer at a time. `=` and not `in`: the planner may run a subquery of `in` again for other rows.
    """
    now = utc_now()
    chosen = (
        select(Job.id)
        .where(Job.due_at <= now, Job.failed_at.is_(None), Job.kind.in_(kinds))
        .order_by(Job.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    token = uuid.uuid4()
    taken = (
        update(Job)
        .where(Job.id == chosen)
        .values(due_at=now + lease, attempts=Job.attempts + 1, lease=token)
        .returning(Job.id, Job.kind, Job.payload, Job.attempts, Job.request_id)
        .execution_options(synchronize_session=False)
    )
    row = (await db.execute(taken)).one_or_none()
    return None if row is None else Claim(row.id, row.kind, row.payload, row.attempts, token, row.request_id)


async def _finish(db: AsyncSession, job: Claim) -> None:
    done = delete(Job).where(*_mine(job)).returning(Job.id).execution_options(synchronize_session=False)
    if await db.scalar(done) is None:
        raise LeaseLost


def _mine(job: Claim) -> tuple[Any, ...]:
    return Job.id == job.id, Job.lease == job.lease
