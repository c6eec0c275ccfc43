"""Runs inside an assembled service, with the server that VALKEY_SERVER names."""

import asyncio
import os
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter
from redis.asyncio import Redis

from app import cache as blocks
from app.cache import EVERYBODY, Cache, cache_key, make_redis

pytestmark = pytest.mark.anyio


class Summary(BaseModel):
    orders: int


SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
MAYBE: TypeAdapter[Summary | None] = TypeAdapter(Summary | None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(port: int, folder: Path) -> Iterator[str]:
    command = [
        os.environ["VALKEY_SERVER"],
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(free_port(), tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Redis]:
    client = make_redis(url, limit_s=20)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def cache(url: str) -> AsyncIterator[Cache]:
    made = Cache(make_redis(url, limit_s=20))
    yield made
    await made.close()


class Maker:
    """Counts, and takes its time."""

    def __init__(self, takes_s: float = 0.0, fails: int = 0) -> None:
        self.calls, self.takes_s, self.fails = 0, takes_s, fails
        self.started = asyncio.Event()

    async def __call__(self) -> Summary:
        self.calls += 1
        number = self.calls
        self.started.set()
        await asyncio.sleep(self.takes_s)
        if number <= self.fails:
            raise ValueError("no summary")
        return Summary(orders=number)


KEY = cache_key("summary", user=7, month="2026-11")


async def test_a_value_is_made_once_and_ends(redis: Redis, cache: Cache) -> None:
    make = Maker()
    for _ in range(3):
        assert await cache.get(KEY, SUMMARY, make, ttl_s=100) == Summary(orders=1)
    assert 90_000 <= await redis.pttl(KEY) <= 110_000
    assert await redis.keys("*lock*") == []


async def test_values_do_not_end_together(redis: Redis, cache: Cache) -> None:
    keys = [cache_key("summary", user=number) for number in range(10)]
    for key in keys:
        await cache.get(key, SUMMARY, Maker(), ttl_s=1000)
    assert len({await redis.pttl(key) // 1000 for key in keys}) > 3


async def test_of_many_at_once_one_makes_it(redis: Redis, url: str) -> None:
    make = Maker(takes_s=0.2)
    caches = [Cache(make_redis(url, limit_s=20)) for _ in range(3)]
    found = await asyncio.gather(*(caches[number % 3].get(KEY, SUMMARY, make) for number in range(120)))
    assert make.calls == 1
    assert found == [Summary(orders=1)] * 120
    for one in caches:
        await one.close()


async def test_absence_is_kept_shortly(redis: Redis, cache: Cache) -> None:
    calls = 0

    async def nothing() -> None:
        nonlocal calls
        calls += 1

    for _ in range(3):
        assert await cache.get(KEY, MAYBE, nothing) is None
    assert calls == 1
    assert await redis.pttl(KEY) <= blocks.ABSENT_TTL_S * 1100


async def test_a_failure_is_not_kept(redis: Redis, cache: Cache) -> None:
    make = Maker(fails=1)
    with pytest.raises(ValueError, match="no summary"):
        await cache.get(KEY, SUMMARY, make)
    before = time.monotonic()
    assert await cache.get(KEY, SUMMARY, make) == Summary(orders=2)
    assert time.monotonic() - before < 5


async def test_a_maker_that_is_cancelled_leaves_no_lock(redis: Redis, cache: Cache) -> None:
    make = Maker(takes_s=60)
    task = asyncio.create_task(cache.get(KEY, SUMMARY, make))
    await make.started.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert await redis.keys("*") == []


async def test_what_was_read_before_the_change_is_not_stored(redis: Redis, cache: Cache) -> None:
    make = Maker(takes_s=0.2)
    task = asyncio.create_task(cache.get(KEY, SUMMARY, make))
    await make.started.wait()
    await cache.forget(KEY)
    assert await task == Summary(orders=1)
    assert await redis.keys("*") == []
    assert await cache.get(KEY, SUMMARY, make) == Summary(orders=2)


async def test_a_maker_that_lost_its_lock_changes_nothing(
    redis: Redis, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LOCK_S", 0.1)
    slow = asyncio.create_task(cache.get(KEY, SUMMARY, Maker(takes_s=0.4)))
    await asyncio.sleep(0.2)

    async def quick() -> Summary:
        return Summary(orders=99)

    assert await cache.get(KEY, SUMMARY, quick) == Summary(orders=99)
    await slow
    assert await cache.get(KEY, SUMMARY, Maker()) == Summary(orders=99)


async def test_who_waited_long_enough_makes_its_own(
    redis: Redis, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "LOCK_S", 0.1)
    await redis.set(f"{KEY}:lock", "of one who died")
    assert await cache.get(KEY, SUMMARY, Maker()) == Summary(orders=1)
    assert await redis.get(f"{KEY}:lock") == b"of one who died"


async def test_a_forgotten_value_is_made_anew(redis: Redis, cache: Cache) -> None:
    make = Maker()
    await cache.get(KEY, SUMMARY, make)
    await cache.forget(KEY, cache_key("other", user=EVERYBODY))
    await cache.forget()
    assert await cache.get(KEY, SUMMARY, make) == Summary(orders=2)


async def test_a_value_of_another_shape_is_made_anew(redis: Redis, cache: Cache) -> None:
    await redis.set(KEY, b'{"orders": "many"}')
    make = Maker()
    for _ in range(2):
        assert await cache.get(KEY, SUMMARY, make) == Summary(orders=1)


async def test_what_is_too_large_is_not_kept(redis: Redis, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_BYTES", 5)
    assert await cache.get(KEY, SUMMARY, Maker()) == Summary(orders=1)
    assert await redis.keys("*") == []


def test_a_key_holds_all_that_matters() -> None:
    user = uuid.uuid4()
    keys = [
        cache_key("a", user=user, x=1),
        cache_key("b", user=user, x=1),
        cache_key("a", user=uuid.uuid4(), x=1),
        cache_key("a", user=EVERYBODY, x=1),
        cache_key("a", user="None", x=1),
        cache_key("a", user="null", x=1),
        cache_key("a", user=user, x=2),
        cache_key("a", user=user, x="1"),
        cache_key("a", user=user, x=True),
        cache_key("a", user=user, x=1, y=None),
        cache_key("a", user=user, x="1, y=2"),
        cache_key("a", user=user, x=1, y=2),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key("a", user=user, y=2, x=1) == keys[-1]
    assert max(len(cache_key("a", user=1, q="x" * 100_000)), *map(len, keys)) < 100


async def test_without_the_server_values_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, make = Cache(make_redis(f"redis://127.0.0.1:{free_port()}/0")), Maker()
    for number in range(1, 4):
        assert await cache.get(KEY, SUMMARY, make) == Summary(orders=number)
    await cache.forget(KEY)
    await cache.close()


async def test_a_server_that_does_not_answer_costs_little() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cache, make = Cache(make_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")), Maker()
        before = time.monotonic()
        for number in range(1, 21):
            assert await cache.get(KEY, SUMMARY, make) == Summary(orders=number)
        # One time limit for all of them.
        assert time.monotonic() - before < 5
        await cache.close()


async def test_it_works_again_after_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PAUSE_S", 0.05)
    port, make = free_port(), Maker()
    with serve(port, tmp_path) as url:
        cache = Cache(make_redis(url, limit_s=20))
        for _ in range(2):
            assert await cache.get(KEY, SUMMARY, make) == Summary(orders=1)
    for number in (2, 3):
        assert await cache.get(KEY, SUMMARY, make) == Summary(orders=number)
    await asyncio.sleep(0.06)
    with serve(port, tmp_path):
        for _ in range(2):
            assert await cache.get(KEY, SUMMARY, make) == Summary(orders=4)
        await cache.close()


async def test_an_outage_while_it_is_made_loses_nothing(tmp_path: Path) -> None:
    make = Maker(takes_s=0.2)
    with serve(free_port(), tmp_path) as url:
        cache = Cache(make_redis(url, limit_s=20))
        task = asyncio.create_task(cache.get(KEY, SUMMARY, make))
        await make.started.wait()
    assert await task == Summary(orders=1)
    await cache.close()
