"""Runs inside an assembled service, on the database that TEST_DATABASE_URL names."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fastapi.sse import ServerSentEvent
from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app import events
from app.database import make_engine, make_sessionmaker, utc_now
from app.errors import TooManyRequests
from app.events import Feed, FeedEvent, emit, purge_events
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
        await db.execute(delete(FeedEvent))
    return made


@pytest.fixture
async def feed(sessions: Sessions) -> AsyncIterator[Feed]:
    async with Feed(sessions, poll_s=0.02) as made:
        yield made


async def add(sessions: Sessions, *numbers: int, topic: str = "a") -> int:
    """The id of the last one."""
    async with sessions() as db, db.begin():
        for number in numbers:
            await emit(db, topic, "counted", {"number": number})
    async with sessions() as db:
        return await db.scalar(select(func.max(FeedEvent.id)))


async def take(stream: AsyncIterator[ServerSentEvent], count: int) -> list:
    """Numbers, and the names of other events, without the opening comment."""
    found: list = []
    async with asyncio.timeout(20):
        while len(found) < count:
            event = await anext(stream)
            if event.comment is None:
                found.append(event.data["number"] if event.event == "counted" else event.event)
    return found


async def opened(feed: Feed, topic: str = "a", last_seen: int | None = None) -> AsyncIterator[ServerSentEvent]:
    stream = feed.stream(topic, last_seen)
    first = await anext(stream)
    assert first.comment
    assert 1000 <= first.retry < 5000
    return stream


async def test_only_the_topics_events_from_now_on(sessions: Sessions, feed: Feed) -> None:
    await add(sessions, 1)
    await asyncio.sleep(0.1)
    stream = await opened(feed)
    await add(sessions, 2, topic="b")
    await add(sessions, 3, 4)
    assert await take(stream, 2) == [3, 4]


async def test_who_comes_back_misses_nothing_and_sees_nothing_twice(sessions: Sessions, feed: Feed) -> None:
    seen = await add(sessions, 1)
    await add(sessions, 2, 3)
    stream = await opened(feed, last_seen=seen)
    await add(sessions, 4)
    assert await take(stream, 3) == [2, 3, 4]


async def test_a_slow_client_gets_everything_in_order_and_holds_little(
    sessions: Sessions, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUED", 5)
    monkeypatch.setattr(events, "BATCH", 7)
    stream = await opened(feed)
    await add(sessions, 0)
    assert await take(stream, 1) == [0]
    await add(sessions, *range(1, 31))
    await asyncio.sleep(0.2)
    (client,) = feed._clients["a"]
    assert client.queue.qsize() == 5
    assert await take(stream, 30) == list(range(1, 31))
    await add(sessions, 31)
    assert await take(stream, 1) == [31]


async def test_events_that_commit_late_are_not_missed(sessions: Sessions, feed: Feed) -> None:
    # It waits at its queue by then: from the table it would get both, in order.
    waiting = asyncio.create_task(take(await opened(feed), 2))
    await asyncio.sleep(0.1)
    wrote, goes_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with sessions() as db, db.begin():
            await emit(db, "a", "counted", {"number": 1})
            wrote.set()
            await goes_on.wait()

    first = asyncio.create_task(slow())
    await wrote.wait()
    second = asyncio.create_task(add(sessions, 2))
    await asyncio.sleep(0.1)
    goes_on.set()
    await asyncio.gather(first, second)
    assert await waiting == [1, 2]


async def test_who_was_away_too_long_is_told_to_reload(sessions: Sessions, feed: Feed) -> None:
    seen = await add(sessions, 1, 2)
    async with sessions() as db, db.begin():
        await db.execute(
            insert(FeedEvent).values(topic="a", kind="counted", data={}, created_at=utc_now() - timedelta(days=2))
        )
        await db.execute(delete(FeedEvent).where(FeedEvent.id <= seen))
        await purge_events(db)
    assert await take(await opened(feed, last_seen=seen), 1) == ["reset"]
    await add(sessions, 3)
    assert await take(await opened(feed, last_seen=seen), 2) == ["reset", 3]


async def test_ids_do_not_come_back(sessions: Sessions) -> None:
    before = await add(sessions, 1)
    async with sessions() as db, db.begin():
        await db.execute(delete(FeedEvent))
    assert await add(sessions, 2) > before


async def test_a_stream_ends_after_its_time(sessions: Sessions, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_AGE_S", 0.1)
    stream = await opened(feed)
    assert [event async for event in stream] == []
    assert not feed._clients


async def test_closing_ends_all_streams(sessions: Sessions, feed: Feed) -> None:
    streams = [await opened(feed), await opened(feed, "b")]
    before = time.monotonic()
    feed.close()
    for stream in streams:
        assert [event async for event in stream] == []
    assert time.monotonic() - before < 2
    assert not feed._clients


async def test_a_topic_has_room_for_some(feed: Feed) -> None:
    streams = []
    for _ in range(events.CLIENTS_PER_TOPIC):
        feed.check_room("a")
        streams.append(await opened(feed))
    with pytest.raises(TooManyRequests):
        feed.check_room("a")
    feed.check_room("b")
    for stream in streams:
        await stream.aclose()
    feed.check_room("a")


async def test_waiting_holds_no_connection(engine: AsyncEngine, feed: Feed) -> None:
    stream = await opened(feed, last_seen=0)
    waiting = asyncio.create_task(take(stream, 2))
    await asyncio.sleep(0.1)
    counts = set()
    for _ in range(20):
        counts.add(engine.pool.checkedout())
        await asyncio.sleep(0.003)
    waiting.cancel()
    await asyncio.wait({waiting})
    # The reader asks now and then.
    assert 0 in counts


async def test_the_reader_outlives_a_database_that_is_away(
    sessions: Sessions, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await opened(feed)
    stored, failures, failed = feed._stored, 0, asyncio.Event()

    async def flaky(*arguments) -> list:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise OSError("away")
        failed.set()
        return await stored(*arguments)

    # Before it reads, the stream itself asks for what is stored.
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0.1)
    monkeypatch.setattr(feed, "_stored", flaky)
    async with asyncio.timeout(20):
        await failed.wait()
    await add(sessions, 1)
    assert await waiting == [1]
