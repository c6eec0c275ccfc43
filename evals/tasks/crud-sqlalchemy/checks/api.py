"""The few sentences in which all checks speak to the service."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import httpx

Json = dict[str, Any]
Connect = Callable[..., httpx.Client]
Together = Callable[[Sequence[Callable[[], httpx.Response]]], list[httpx.Response]]
Commits = Callable[..., AbstractContextManager[Any]]
Sql = Callable[..., list[tuple[Any, ...]]]

DONE = (200, 204)
JSON = {"content-type": "application/json"}
PROJECT_FIELDS = {"id", "name", "created_at", "updated_at", "task_count"}
TASK_FIELDS = {"id", "project_id", "title", "status", "priority", "tags", "created_at", "updated_at"}


def word(length: int = 12) -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(length))


def letters(length: int) -> str:
    """Random characters of three bytes each: a limit in characters must not count bytes."""
    return "".join(chr(0x4E00 + secrets.randbelow(20_000)) for _ in range(length))


def told(answer: httpx.Response) -> str:
    """What was asked and what came, for a message."""
    asked = f"{answer.request.method} {str(answer.request.url)[:200]} {answer.request.content[:200]!r}"
    return f"{asked} -> {answer.status_code} {answer.text[:500]}"


def expect(answer: httpx.Response, *statuses: int) -> httpx.Response:
    assert answer.status_code in statuses, f"not {' or '.join(map(str, statuses))}: {told(answer)}"
    return answer


def refused(answer: httpx.Response) -> httpx.Response:
    """Any status of the client's fault will do."""
    assert 400 <= answer.status_code < 500, f"not 4xx: {told(answer)}"
    return answer


def survived(answer: httpx.Response) -> httpx.Response:
    """Accepted or refused, but not broken."""
    assert answer.status_code < 500, f"broken: {told(answer)}"
    return answer


def add_project(client: httpx.Client, **fields: Any) -> Json:
    made: Json = expect(client.post("/projects", json={"name": word(), **fields}), 201).json()
    assert made.keys() >= PROJECT_FIELDS, f"a project without {PROJECT_FIELDS - made.keys()}: {made}"
    return made


def add_task(client: httpx.Client, project: Json, **fields: Any) -> Json:
    body = {"title": word(), **fields}
    made: Json = expect(client.post(f"/projects/{project['id']}/tasks", json=body), 201).json()
    assert made.keys() >= TASK_FIELDS, f"a task without {TASK_FIELDS - made.keys()}: {made}"
    return made


def project_url(project: Json) -> str:
    return f"/projects/{project['id']}"


def task_url(task: Json) -> str:
    return f"/tasks/{task['id']}"


def read(client: httpx.Client, url: str) -> Json:
    found: Json = expect(client.get(url), 200).json()
    return found


def patch(client: httpx.Client, url: str, changes: Json, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(url, json=changes, headers=named)


def change(client: httpx.Client, url: str, changes: Json) -> Json:
    """PATCH, and what is there afterwards."""
    expect(patch(client, url, changes), *DONE)
    return read(client, url)


def listed(client: httpx.Client, **params: Any) -> Json:
    page: Json = expect(client.get("/tasks", params=params), 200).json()
    assert {"items", "total"} <= page.keys(), f"a page without items and total: {page}"
    return page


def ids(things: Iterable[Json]) -> list[Any]:
    return [thing["id"] for thing in things]


def all_projects(client: httpx.Client, size: int = 25) -> list[Json]:
    """Every project, page by page."""
    found: list[Json] = []
    while True:
        page = expect(client.get("/projects", params={"limit": size, "offset": len(found)}), 200).json()["items"]
        assert len(page) <= size, f"{len(page)} projects on a page of {size}"
        found += page
        assert len(found) < 2000, "the pages of projects have no end"
        if not page:
            return found


def unknown(known: Any) -> Any:
    """An id that does not exist, of the same type as one that does."""
    if isinstance(known, int):
        return known + 1_000_000 + secrets.randbelow(1_000_000)
    try:
        uuid.UUID(known)
    except ValueError:
        return known[:-6] + word(6)
    return str(uuid.uuid4())


def instant(value: Any) -> datetime:
    """A timestamp as ISO 8601 with a zone, else a failure that says what came."""
    assert isinstance(value, str) and "T" in value.upper().replace(" ", "T"), f"{value!r} is not an ISO 8601 timestamp"
    moment = datetime.fromisoformat(value)
    assert moment.tzinfo is not None, f"{value!r} has no time zone"
    return moment.astimezone(UTC)


def etag(client: httpx.Client, task: Json) -> str:
    answer = expect(client.get(task_url(task)), 200)
    assert "etag" in answer.headers, f"GET {task_url(task)} sends no ETag: {dict(answer.headers)}"
    return str(answer.headers["etag"])
