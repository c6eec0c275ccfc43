"""Runs inside an assembled service, on the database that TEST_DATABASE_URL names."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from asgi_correlation_id import correlation_id
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app import jobs
from app.database import make_engine, make_sessionmaker, utc_now
from app.jobs import Backlog, Claim, GiveUp, Job, Worker, backlog, enqueue, retry_failed, wait_after
from app.notes import Note
from app.schema import prepare_schema

pytestmark = pytest.mark.anyio
URL = os.environ["TEST_DATABASE_URL"]

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def engine() -> AsyncIterator[AsyncEngine]:
    engine = make_engine(URL)
    await prepare_schema(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def sessions(engine: AsyncEngine) -> Sessions:
    made = make_sessionmaker(engine)
    async with made() as db, db.begin():
        await db.execute(delete(Job))
        await db.execute(delete(Note))
    return made


async def add(sessions: Sessions, kind: str = "note", **options) -> bool:
    async with sessions() as db, db.begin():
        return await enqueue(db, kind, {"title": "done"}, **options)


async def rows(sessions: Sessions) -> list[Job]:
    async with sessions() as db:
        return list(await db.scalars(select(Job)))


async def notes(sessions: Sessions) -> int:
    async with sessions() as db:
        return await db.scalar(select(func.count()).select_from(Note))


async def until(holds: Callable) -> None:
    deadline = time.monotonic() + 20
    while not await holds():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)


async def is_empty(sessions: Sessions) -> bool:
    return not await rows(sessions)


def worker(sessions: Sessions, handler, **options) -> Worker:
    return Worker(sessions, {"note": handler}, **{"poll_s": 0.02, "grace_s": 0.3} | options)


async def write_note(db: AsyncSession, job: Claim) -> None:
    db.add(Note(title=job.payload["title"]))


async def test_a_job_exists_only_with_its_transaction(sessions: Sessions) -> None:
    async with sessions() as db:
        assert await enqueue(db, "note", {})
        await db.rollback()
    assert await rows(sessions) == []


async def test_a_job_runs_and_is_gone(sessions: Sessions) -> None:
    await add(sessions)
    async with worker(sessions, write_note):
        await until(lambda: is_empty(sessions))
    assert await notes(sessions) == 1


async def test_each_of_many_runs_once_with_several_workers(sessions: Sessions) -> None:
    seen: list[str] = []

    async def handler(_: AsyncSession, job: Claim) -> None:
        seen.append(str(job.id))
        await asyncio.sleep(0.005)

    for _ in range(25):
        await add(sessions)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            engine = make_engine(URL)
            stack.push_async_callback(engine.dispose)
            await stack.enter_async_context(worker(make_sessionmaker(engine), handler))
        await until(lambda: is_empty(sessions))
    assert len(seen) == len(set(seen)) == 25


async def test_no_more_run_at_once_than_allowed(sessions: Sessions) -> None:
    now = most = 0

    async def handler(_: AsyncSession, job: Claim) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.03)
        now -= 1

    for _ in range(6):
        await add(sessions)
    async with worker(sessions, handler, concurrency=2):
        await until(lambda: is_empty(sessions))
    assert most == 2


async def test_a_failure_is_tried_again_then_kept_without_its_text(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FIRST_WAIT", timedelta(0))
    attempts: list[int] = []

    async def handler(db: AsyncSession, job: Claim) -> None:
        await write_note(db, job)
        await db.flush()
        attempts.append(job.attempt)
        raise ValueError("hunter2")

    async def gave_up() -> bool:
        return (await rows(sessions))[0].failed_at is not None

    await add(sessions)
    async with worker(sessions, handler):
        await until(gave_up)
        await asyncio.sleep(0.1)
    assert attempts == list(range(1, jobs.MAX_ATTEMPTS + 1))
    (kept,) = await rows(sessions)
    assert (kept.error, kept.lease) == ("ValueError", None)
    assert await notes(sessions) == 0
    async with sessions() as db, db.begin():
        assert await retry_failed(db, kept.id)
        assert not await retry_failed(db, kept.id)
    async with worker(sessions, write_note):
        await until(lambda: is_empty(sessions))


async def test_it_waits_before_the_next_attempt(sessions: Sessions) -> None:
    attempts = 0

    async def handler(_: AsyncSession, __: Claim) -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError

    async def was_put_back() -> bool:
        return attempts == 1 and (await rows(sessions))[0].lease is None

    await add(sessions)
    before = utc_now()
    async with worker(sessions, handler):
        await until(was_put_back)
        await asyncio.sleep(0.1)
    assert attempts == 1
    assert (await rows(sessions))[0].due_at >= before + jobs.FIRST_WAIT / 2


def test_waits_grow_within_bounds() -> None:
    for attempt in (1, 2, 5, 1000):
        full = min(jobs.FIRST_WAIT * 2 ** min(attempt - 1, 20), jobs.LONGEST_WAIT)
        waits = {wait_after(attempt) for _ in range(20)}
        assert full / 2 <= min(waits) <= max(waits) <= full
        assert len(waits) > 1


async def test_giving_up_ends_it_at_once(sessions: Sessions) -> None:
    async def handler(_: AsyncSession, __: Claim) -> None:
        raise GiveUp

    async def gave_up() -> bool:
        return (await rows(sessions))[0].failed_at is not None

    await add(sessions)
    async with worker(sessions, handler):
        await until(gave_up)
    assert (await rows(sessions))[0].attempts == 1


async def test_an_attempt_that_hangs_is_ended(sessions: Sessions) -> None:
    async def handler(_: AsyncSession, __: Claim) -> None:
        await asyncio.sleep(60)

    async def timed_out() -> bool:
        return (await rows(sessions))[0].error == "TimeoutError"

    await add(sessions)
    async with worker(sessions, handler, timeout_s=0.05):
        await until(timed_out)


async def test_a_job_whose_workers_died_is_given_up_unrun(sessions: Sessions) -> None:
    await add(sessions)
    async with sessions() as db, db.begin():
        await db.execute(update(Job).values(attempts=jobs.MAX_ATTEMPTS))

    async def gave_up() -> bool:
        return (await rows(sessions))[0].failed_at is not None

    async with worker(sessions, write_note):
        await until(gave_up)
    assert await notes(sessions) == 0


async def test_who_lost_the_lease_changes_nothing(sessions: Sessions) -> None:
    async def handler(db: AsyncSession, job: Claim) -> None:
        # As if this worker had stood still until another had taken the job and done it.
        async with sessions() as other, other.begin():
            await other.execute(delete(Job).where(Job.id == job.id))
        await write_note(db, job)

    await add(sessions)
    async with worker(sessions, handler):
        await until(lambda: is_empty(sessions))
    assert await notes(sessions) == 0


async def test_a_job_that_another_worker_has_is_left_to_it(sessions: Sessions) -> None:
    ended = asyncio.Event()

    async def handler(db: AsyncSession, job: Claim) -> None:
        async with sessions() as other, other.begin():
            await other.execute(update(Job).values(lease=uuid.uuid4(), due_at=utc_now() + timedelta(hours=1)))
        await write_note(db, job)
        ended.set()

    await add(sessions)
    async with worker(sessions, handler):
        await ended.wait()
    assert [job.attempts for job in await rows(sessions)] == [1]
    assert await notes(sessions) == 0


async def test_only_known_kinds_that_are_due_are_taken(sessions: Sessions) -> None:
    await add(sessions, "unknown")
    await add(sessions, due_at=utc_now() + timedelta(hours=1))
    async with worker(sessions, write_note):
        await asyncio.sleep(0.15)
    assert [job.attempts for job in await rows(sessions)] == [0, 0]


async def test_one_key_waits_once(sessions: Sessions) -> None:
    assert await add(sessions, key="daily")
    assert not await add(sessions, key="daily")
    assert await add(sessions, key="weekly")
    assert len(await rows(sessions)) == 2


async def test_stopping_waits_for_running_jobs(sessions: Sessions) -> None:
    started = asyncio.Event()

    async def handler(db: AsyncSession, job: Claim) -> None:
        started.set()
        await asyncio.sleep(0.1)
        await write_note(db, job)

    await add(sessions)
    async with worker(sessions, handler):
        await started.wait()
    assert await rows(sessions) == []
    assert await notes(sessions) == 1


async def test_stopping_puts_back_what_takes_too_long(sessions: Sessions) -> None:
    started = asyncio.Event()

    async def handler(db: AsyncSession, job: Claim) -> None:
        await write_note(db, job)
        await db.flush()
        started.set()
        await asyncio.sleep(60)

    await add(sessions)
    before = time.monotonic()
    async with worker(sessions, handler, concurrency=1):
        await started.wait()
    assert time.monotonic() - before < 3
    (job,) = await rows(sessions)
    assert (job.attempts, job.lease) == (0, None)
    assert job.due_at <= utc_now()
    assert await notes(sessions) == 0


async def test_a_worker_outlives_a_database_that_is_away(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, failures = jobs._claim, 0

    async def flaky(*arguments) -> Claim | None:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise OSError("away")
        return await claim(*arguments)

    monkeypatch.setattr(jobs, "_claim", flaky)
    await add(sessions)
    async with worker(sessions, write_note):
        await until(lambda: is_empty(sessions))
    assert failures == 3


async def test_the_request_id_goes_with_the_job(sessions: Sessions) -> None:
    seen: list[str | None] = []

    async def handler(_: AsyncSession, __: Claim) -> None:
        seen.append(correlation_id.get())

    correlation_id.set("r1")
    await add(sessions)
    correlation_id.set(None)
    async with worker(sessions, handler):
        await until(lambda: is_empty(sessions))
    assert seen == ["r1"]


async def test_the_backlog_is_counted(sessions: Sessions) -> None:
    async with sessions() as db:
        assert await backlog(db) == Backlog(0, 0, 0.0)
    await add(sessions, due_at=utc_now() - timedelta(minutes=1))
    await add(sessions, due_at=utc_now() + timedelta(minutes=1))
    async with sessions() as db:
        found = await backlog(db)
    assert (found.waiting, found.failed) == (2, 0)
    assert 60 <= found.overdue_s < 70
