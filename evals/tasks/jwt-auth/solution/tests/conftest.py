"""A client for the app with its lifespan run and a database of its own for every test."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.application import create_app
from app.auth_settings import AuthSettings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> AuthSettings:
    url = f"sqlite+aiosqlite:///{tmp_path}/test.db"
    return AuthSettings(environment="test", database_url=url, secret_key=SecretStr(secrets.token_hex(32)))


@pytest.fixture
async def app(settings: AuthSettings) -> AsyncIterator[FastAPI]:
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
