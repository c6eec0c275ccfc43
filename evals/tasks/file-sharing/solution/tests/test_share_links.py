from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from app import share_links

pytestmark = pytest.mark.anyio

Headers = dict[str, str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """A clock for the links that tests can put forward."""
    now = [datetime.now(UTC)]
    monkeypatch.setattr(share_links, "utc_now", lambda: now[0])
    return now


async def shared(client: httpx2.AsyncClient, who: Headers, **wish: Any) -> tuple[str, httpx2.Response]:
    made = (await client.post("/files", files={"file": ("ü.txt", b"shared text")}, headers=who)).json()
    url = f"/files/{made['id']}"
    return url, await client.post(f"{url}/share", json={"expires_in": 60, **wish}, headers=who)


async def test_opens_until_it_expires(client: httpx2.AsyncClient, ann: Headers, clock: list[datetime]) -> None:
    _, answer = await shared(client, ann)
    assert answer.status_code == 201
    link = answer.json()
    assert datetime.fromisoformat(link["expires_at"]) == clock[0] + timedelta(seconds=60)
    opened = await client.get(link["url"])
    assert opened.content == b"shared text"
    assert opened.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%BC.txt"
    assert opened.headers["cache-control"] == "private, no-store"
    clock[0] += timedelta(seconds=60)
    assert (await client.get(link["url"])).status_code == 404


async def test_ends_with_the_file(client: httpx2.AsyncClient, ann: Headers) -> None:
    file, answer = await shared(client, ann)
    await client.delete(file, headers=ann)
    assert (await client.get(answer.json()["url"])).status_code == 404


@pytest.mark.parametrize("seconds", [0, -1, 604_801, "soon", None])
async def test_refuses_other_lives(client: httpx2.AsyncClient, ann: Headers, seconds: Any) -> None:
    _, answer = await shared(client, ann, expires_in=seconds)
    assert answer.status_code == 422


@pytest.mark.parametrize("token", ["", "guess", "a\0b", "x" * 201])
async def test_refuses_other_tokens(client: httpx2.AsyncClient, token: str) -> None:
    answer = await client.get("/shared", params={"token": token})
    assert answer.status_code in (404, 422)


async def test_is_no_bearer_token(client: httpx2.AsyncClient, ann: Headers) -> None:
    _, answer = await shared(client, ann)
    token = answer.json()["url"].partition("=")[2]
    assert (await client.get("/files", headers={"Authorization": f"Bearer {token}"})).status_code == 401
