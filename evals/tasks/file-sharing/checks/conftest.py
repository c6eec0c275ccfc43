"""The people that checks speak for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import people
import pytest
from people import Connect, Json, Person


@pytest.fixture(scope="session")
def key(service: Any) -> str:
    """What the tokens are signed with."""
    return str(service.env["SECRET_KEY"])


@pytest.fixture(scope="session")
def limit(service: Any) -> int:
    return int(service.env["MAX_UPLOAD_BYTES"])


@pytest.fixture(scope="session")
def newcomer(connect: Connect, key: str) -> Callable[..., Person]:
    """A person without any file; with the id given, or a random one."""

    def newcomer(subject: str | None = None) -> Person:
        return people.person(connect, key, subject)

    return newcomer


@pytest.fixture(scope="session")
def ann(newcomer: Callable[..., Person]) -> Person:
    """Somebody with files already. No check counts them."""
    return newcomer()


@pytest.fixture(scope="session")
def file(ann: Person) -> Json:
    """A file of hers that stays as it is."""
    return ann.keep()


@pytest.fixture(scope="session")
def bob(newcomer: Callable[..., Person]) -> Person:
    return newcomer()


@pytest.fixture(scope="session")
def stranger(connect: Connect) -> httpx.Client:
    """Nobody in particular: no token."""
    return connect()


@pytest.fixture(scope="session")
def uploads(service: Any) -> Path:
    """The upload folder, as this side sees it."""
    return Path(service.data) / "uploads"


@dataclass(frozen=True)
class Brief:
    """A link for one second, and when it was made."""

    link: str
    made: float


@pytest.fixture(scope="session", autouse=True)
def brief(ann: Person) -> Brief | str:
    """Made first, so that the other checks are the wait. A failure is told by the check that needs it."""
    try:
        link = ann.link(ann.keep(), 1)
    except (AssertionError, httpx.HTTPError, ValueError) as error:
        return f"no link for one second could be made: {error}"
    return Brief(link, time.monotonic())
