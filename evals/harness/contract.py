"""What an agent is told: the instruction, and the runtime contract that every service here has."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from .model import Task
from .sandbox import SERVICE_ENVIRONMENT, SandboxError

CONTRACT = """
## How the service is run

The service is `app.main:app`, started from this folder with uvicorn under Python {python} and configured by
environment variables only. Its database is empty at the first start, and starting the app must be enough: it creates or
migrates its schema itself, safely when two workers start at once. It has no network. Nothing can be installed; these
packages are at hand: {packages}.
"""
# What the locked group asks for by name; the rest of the environment is what these need.
NAMED = (
    "fastapi", "starlette", "uvicorn", "pydantic", "email-validator", "pydantic-settings", "sqlalchemy", "sqlmodel",
    "asyncpg", "psycopg", "aiosqlite", "alembic", "pyjwt", "pwdlib", "argon2-cffi", "bcrypt", "limits", "slowapi",
    "redis", "cashews", "structlog", "asgi-correlation-id", "prometheus-client", "prometheus-fastapi-instrumentator",
    "aiofiles", "python-multipart", "puremagic", "filetype", "tenacity", "httpx", "httpx2", "anyio", "pytest",
    "pytest-asyncio", "ruff", "mypy",
)  # fmt: skip


@cache
def packages(environment: Path = SERVICE_ENVIRONMENT) -> str:
    """The packages at hand with their versions, from the environment that agents and services get."""
    sites = [str(path) for path in environment.glob("lib/python*/site-packages")]
    found = {(one.name or "").lower().replace("_", "-"): one.version for one in distributions(path=sites)}
    if not found:
        raise SandboxError(f"{environment.name} holds no packages: run scripts/eval, which makes it")
    return ", ".join(f"{name} {found[name]}" for name in NAMED if name in found)


def prompt(task: Task, agent: str | None) -> str:
    """What a user would write. Arms differ in the first line only: whom the work is given to."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    told = task.instruction.rstrip() + "\n" + CONTRACT.format(python=python, packages=packages())
    if agent is None:
        return f"Do the following in this folder.\n\n{told}"
    return f"Use the {agent.rpartition(':')[2]} agent to do the following in this folder.\n\n{told}"
