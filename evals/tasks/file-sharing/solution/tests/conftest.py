"""A client for the app with its lifespan run, a database and an upload folder of its own for every test."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.application import create_app
from app.upload_settings import UploadSettings

KEY = "k" * 48
LIMIT = 100_000

Headers = dict[str, str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> UploadSettings:
    return UploadSettings(
        environment="test",
        database_url=f"sqlite+aiosqlite:///{tmp_path}/test.db",
        secret_key=SecretStr(KEY),
        upload_dir=tmp_path / "uploads",
        max_upload_bytes=LIMIT,
    )


@pytest.fixture
async def app(settings: UploadSettings) -> AsyncIterator[FastAPI]:
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
def token() -> Callable[..., str]:
    """A token as the other service issues it; claims given replace the usual ones, None leaves one out."""

    def token(key: str = KEY, **claims: Any) -> str:
        whole = {"sub": "ann", "exp": int(time.time()) + 600, **claims}
        return jwt.encode({name: value for name, value in whole.items() if value is not None}, key, algorithm="HS256")

    return token


@pytest.fixture
def ann(token: Callable[..., str]) -> Headers:
    return {"Authorization": f"Bearer {token(sub='ann')}"}


@pytest.fixture
def bob(token: Callable[..., str]) -> Headers:
    return {"Authorization": f"Bearer {token(sub='bob')}"}
