import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest

pytestmark = pytest.mark.anyio

Client = httpx2.AsyncClient


@pytest.fixture
async def task(client: Client, project: str) -> str:
    body = {"title": "Paint", "status": "doing", "priority": 5, "due_date": "2031-05-17", "tags": ["b", "a"]}
    made = await client.post(f"/projects/{project}/tasks", json=body)
    assert made.status_code == 201
    return f"/tasks/{made.json()['id']}"


async def titles(client: Client, **params: Any) -> list[str]:
    answer = await client.get("/tasks", params=params)
    assert answer.status_code == 200
    return [task["title"] for task in answer.json()["items"]]


async def test_defaults(client: Client, project: str) -> None:
    made = (await client.post(f"/projects/{project}/tasks", json={"title": "a"})).json()
    assert made["project_id"] == project
    assert (made["status"], made["priority"], made["due_date"], made["tags"]) == ("todo", 3, None, [])


@pytest.mark.parametrize(
    "field",
    [
        {"title": ""},
        {"title": "x" * 201},
        {"status": "open"},
        {"priority": 6},
        {"due_date": "2031-02-30"},
        {"tags": "a"},
        {"tags": [1]},
        {"tags": None},
        {"version": 7},
    ],
)
async def test_refuses_invalid_values(client: Client, project: str, task: str, field: dict[str, Any]) -> None:
    assert (await client.post(f"/projects/{project}/tasks", json={"title": "a"} | field)).status_code == 422
    before = (await client.get(task)).json()
    assert (await client.patch(task, json={"priority": 1} | field)).status_code == 422
    assert (await client.get(task)).json() == before


async def test_changes_only_what_is_given(client: Client, task: str) -> None:
    before = (await client.get(task)).json()
    after = (await client.patch(task, json={"title": "Draw", "due_date": None})).json()
    assert after | {"updated_at": None} == before | {"title": "Draw", "due_date": None, "updated_at": None}
    assert after["updated_at"] > before["updated_at"]
    assert (await client.patch(task, json={})).json() == after == (await client.get(task)).json()


@pytest.mark.parametrize("tags", [["c", "b"], ["a"], [], ["b", "a", "c"]])
async def test_replaces_tags_in_order(client: Client, task: str, tags: list[str]) -> None:
    old = (await client.get(task)).headers["etag"]
    assert (await client.patch(task, json={"tags": tags})).json()["tags"] == tags
    found = await client.get(task)
    assert found.json()["tags"] == tags
    assert found.headers["etag"] != old


async def test_deletes_once(client: Client, task: str) -> None:
    assert (await client.delete(task)).status_code == 204
    assert (await client.delete(task)).status_code == 404
    assert (await client.get(task)).status_code == 404
    assert (await client.patch(f"/tasks/{uuid4()}", json={})).status_code == 404


async def test_patches_the_current_version_only(client: Client, task: str) -> None:
    old = (await client.get(task)).headers["etag"]
    first = await client.patch(task, json={"priority": 1}, headers={"If-Match": old})
    assert first.status_code == 200
    assert (await client.patch(task, json={"priority": 2}, headers={"If-Match": old})).status_code == 412
    current = await client.get(task)
    assert current.headers["etag"] == first.headers["etag"]
    assert current.json()["priority"] == 1
    for tags in ("*", f'"x", {current.headers["etag"]}'):
        assert (await client.patch(task, json={}, headers={"If-Match": tags})).status_code == 200


async def test_one_of_many_patches_wins(client: Client, task: str) -> None:
    tag = (await client.get(task)).headers["etag"]
    calls = [client.patch(task, json={"title": str(n)}, headers={"If-Match": tag}) for n in range(5)]
    statuses = sorted([answer.status_code for answer in await asyncio.gather(*calls)])
    assert statuses == [200, 412, 412, 412, 412]


@pytest.fixture
async def board(client: Client, project: str) -> str:
    for body in (
        {"title": "Fence 100%", "priority": 2, "due_date": "2031-03-03", "tags": ["home", "red"]},
        {"title": "fence 100 m", "priority": 5, "status": "done", "tags": ["homework"]},
        {"title": "a_b", "priority": 1, "due_date": "2030-01-01", "tags": ["red"]},
    ):
        await client.post(f"/projects/{project}/tasks", json=body)
    return project


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["a_b", "fence 100 m", "Fence 100%"]),
        ({"sort": "created_at"}, ["Fence 100%", "fence 100 m", "a_b"]),
        ({"sort": "priority"}, ["a_b", "Fence 100%", "fence 100 m"]),
        ({"sort": "due_date"}, ["a_b", "Fence 100%", "fence 100 m"]),
        ({"sort": "-due_date"}, ["Fence 100%", "a_b", "fence 100 m"]),
        ({"q": "FENCE"}, ["fence 100 m", "Fence 100%"]),
        ({"q": "0%"}, ["Fence 100%"]),
        ({"q": "_"}, ["a_b"]),
        ({"tag": "home"}, ["Fence 100%"]),
        ({"tag": "red", "priority": 1}, ["a_b"]),
        ({"status": "done"}, ["fence 100 m"]),
        ({"project_id": str(uuid4())}, []),
        ({"limit": 1, "offset": 1}, ["fence 100 m"]),
    ],
)
async def test_lists(client: Client, board: str, params: dict[str, Any], expected: list[str]) -> None:
    assert await titles(client, **params) == expected


async def test_total_counts_all_that_match(client: Client, board: str) -> None:
    assert (await client.get("/tasks", params={"tag": "red", "limit": 1})).json()["total"] == 2


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "offset=-1", "sort=title", "sort=(select 1)", "status=x", "priority=9", "q=%00"]
)
async def test_refuses_an_invalid_query(client: Client, query: str) -> None:
    assert (await client.get(f"/tasks?{query}")).status_code == 422
