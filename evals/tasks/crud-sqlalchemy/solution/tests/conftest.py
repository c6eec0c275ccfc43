"""A client for the app with its lifespan run and a database of its own for every test.

SQLite, or with TEST_DATABASE_URL a PostgreSQL database that is wiped before each test.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.application import create_app
from app.database import make_engine
from app.settings import Settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        await wipe(url)
    return Settings(environment="test", database_url=url or f"sqlite+aiosqlite:///{tmp_path}/test.db")


async def wipe(url: str) -> None:
    engine = make_engine(url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        await connection.exec_driver_sql("CREATE SCHEMA public")
    await engine.dispose()


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    # ASGITransport runs no lifespan.
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    # raise_app_exceptions=False: a test sees the 500 that a client would see.
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def project(client: httpx2.AsyncClient) -> str:
    made = await client.post("/projects", json={"name": "Website"})
    return str(made.json()["id"])
