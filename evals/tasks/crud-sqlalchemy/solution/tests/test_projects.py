from uuid import uuid4

import httpx2
import pytest

pytestmark = pytest.mark.anyio

Client = httpx2.AsyncClient


async def test_creates_and_reads_a_project(client: Client) -> None:
    made = await client.post("/projects", json={"name": "Website", "description": "Two\nlines"})
    assert made.status_code == 201
    assert made.json()["task_count"] == 0
    found = await client.get(made.headers["location"])
    assert found.json() == made.json()
    assert found.json()["created_at"].endswith("Z")


async def test_counts_tasks(client: Client, project: str) -> None:
    made = [await client.post(f"/projects/{project}/tasks", json={"title": "a"}) for _ in range(2)]
    await client.delete(f"/tasks/{made[0].json()['id']}")
    assert (await client.get(f"/projects/{project}")).json()["task_count"] == 1
    assert (await client.get("/projects")).json()["items"][0]["task_count"] == 1
    assert (await client.patch(f"/projects/{project}", json={"name": "b"})).json()["task_count"] == 1


async def test_pages_projects(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.post("/projects", json={"name": name})
    page = (await client.get("/projects", params={"limit": 2, "offset": 1})).json()
    assert [project["name"] for project in page["items"]] == ["b", "c"]
    assert page["total"] == 3


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": None}, {"name": "a\0"}, {"nam": "a"}])
async def test_refuses_an_invalid_project(client: Client, body: dict[str, object]) -> None:
    assert (await client.post("/projects", json=body)).status_code == 422


async def test_names_are_unique(client: Client, project: str) -> None:
    assert (await client.post("/projects", json={"name": "Website"})).status_code == 409
    other = (await client.post("/projects", json={"name": "Other"})).json()["id"]
    assert (await client.patch(f"/projects/{other}", json={"name": "Website"})).status_code == 409
    assert (await client.patch(f"/projects/{project}", json={"name": "Website"})).status_code == 200


async def test_changes_only_what_is_given(client: Client, project: str) -> None:
    url = f"/projects/{project}"
    changed = (await client.patch(url, json={"description": "new"})).json()
    assert (changed["name"], changed["description"]) == ("Website", "new")
    assert (await client.patch(url, json={})).json() == changed
    assert (await client.patch(url, json={"description": None})).json()["description"] is None
    assert (await client.patch(url, json={"name": None})).status_code == 422


async def test_deletes_a_project_with_its_tasks(client: Client, project: str) -> None:
    task = (await client.post(f"/projects/{project}/tasks", json={"title": "a", "tags": ["x"]})).json()["id"]
    assert (await client.delete(f"/projects/{project}")).status_code == 204
    assert (await client.get(f"/tasks/{task}")).status_code == 404
    assert (await client.delete(f"/projects/{project}")).status_code == 404


async def test_unknown_projects(client: Client) -> None:
    url = f"/projects/{uuid4()}"
    assert (await client.get(url)).status_code == 404
    assert (await client.patch(url, json={})).status_code == 404
    assert (await client.post(f"{url}/tasks", json={"title": "a"})).status_code == 404
    assert (await client.get("/projects/7")).status_code == 422


async def test_health(client: Client) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
