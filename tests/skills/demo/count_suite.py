"""Runs inside an assembled service, on the database that TEST_DATABASE_URL names."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.application import create_app
from app.loop_watch import watch_loop
from app.notes import Note
from app.query_count import count_queries
from app.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    app = create_app(Settings(database_url=os.environ["TEST_DATABASE_URL"], environment="test"))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        yield client


async def add(client: httpx2.AsyncClient, count: int) -> None:
    for _ in range(count):
        assert (await client.post("/notes", json={"title": secrets.token_hex(8)})).status_code == 201


async def test_a_list_asks_as_much_for_many_rows_as_for_one(app: FastAPI, client: httpx2.AsyncClient) -> None:
    await add(client, 1)
    with count_queries(app.state.engine) as few:
        await client.get("/notes")
    await add(client, 10)
    with count_queries(app.state.engine) as many:
        await client.get("/notes")
    assert many.total == few.total == 2, many
    assert not many.repeated


async def test_a_query_for_each_row_shows(app: FastAPI, client: httpx2.AsyncClient) -> None:
    await add(client, 5)
    async with app.state.sessionmaker() as db:
        with count_queries(app.state.engine) as counted:
            ids = (await db.scalars(select(Note.id).limit(5))).all()
            for note_id in ids:
                await db.scalar(select(Note.title).where(Note.id == note_id))
    assert counted.total == 6
    assert list(counted.repeated.values()) == [5]
    first, second, *_ = str(counted).splitlines()
    assert first == "6 statements"
    assert second.startswith("5 x SELECT notes.title FROM notes WHERE notes.id = ")


async def test_it_stops_counting_also_after_an_error(app: FastAPI, client: httpx2.AsyncClient) -> None:
    with pytest.raises(RuntimeError), count_queries(app.state.engine) as counted:
        raise RuntimeError
    await client.get("/notes")
    assert counted.total == 0


@pytest.mark.parametrize("blocks", [True, False])
async def test_a_step_that_blocks_the_loop_is_named(blocks: bool) -> None:
    async def work() -> None:
        if blocks:
            time.sleep(0.5)  # noqa: ASYNC251
        else:
            await asyncio.sleep(0.5)

    loop = asyncio.get_running_loop()
    before = loop.get_debug(), loop.slow_callback_duration
    with watch_loop(0.4) as slow:
        await asyncio.create_task(work())
    assert len(slow) == blocks
    assert not blocks or "work()" in slow[0]
    assert (loop.get_debug(), loop.slow_callback_duration) == before
