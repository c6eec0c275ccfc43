"""Odd and hostile input: refused or taken, never a broken answer."""

from __future__ import annotations

import httpx
import pytest
from api import (
    JSON,
    Json,
    add_task,
    expect,
    project_url,
    read,
    refused,
    survived,
    task_url,
    word,
)

# What is JSON to some parsers and never a valid project or task.
NOT_OBJECTS = (b"[1]", b"null", b'"text"', b"", b'{"name": "a", "title": "a"')
DEEP = b"[" * 50_000, b'{"title": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
BAD_UTF8 = b'{"name": "\xff\xfe", "title": "\xff\xfe"}', b'{"name": "\xed\xa0\x80", "title": "\xed\xa0\x80"}'
NUMBERS = ("NaN", "-Infinity", "1e400", "1" + "0" * 26, "9" * 5000)


def endpoints(project: Json, task: Json) -> list[tuple[str, str]]:
    return [
        ("POST", "/projects"),
        ("PATCH", project_url(project)),
        ("POST", f"{project_url(project)}/tasks"),
        ("PATCH", task_url(task)),
    ]


def send(client: httpx.Client, endpoint: tuple[str, str], body: bytes) -> httpx.Response:
    return client.request(*endpoint, content=body, headers=JSON)


def test_refuses_bodies_that_are_no_objects(client: httpx.Client, project: Json, task: Json) -> None:
    for endpoint in endpoints(project, task):
        for body in NOT_OBJECTS:
            refused(send(client, endpoint, body))


def test_refuses_bodies_that_are_no_text(client: httpx.Client, project: Json, task: Json) -> None:
    for endpoint in endpoints(project, task):
        for body in BAD_UTF8:
            refused(send(client, endpoint, body))


def test_refuses_deeply_nested_bodies(client: httpx.Client, project: Json, task: Json) -> None:
    for endpoint in endpoints(project, task)[1:3]:
        for body in DEEP:
            refused(send(client, endpoint, body))


def test_refuses_impossible_numbers(client: httpx.Client, project: Json, task: Json) -> None:
    url = f"{project_url(project)}/tasks"
    for number in NUMBERS:
        refused(send(client, ("POST", url), f'{{"title": "x", "priority": {number}}}'.encode()))
        refused(send(client, ("PATCH", task_url(task)), f'{{"priority": {number}}}'.encode()))
    for number in NUMBERS[:2]:
        refused(send(client, ("POST", "/projects"), f'{{"name": {number}}}'.encode()))
        refused(send(client, ("POST", url), f'{{"title": "x", "tags": [{number}]}}'.encode()))
        refused(send(client, ("PATCH", task_url(task)), f'{{"due_date": {number}}}'.encode()))
    assert read(client, task_url(task))["priority"] == task["priority"]


def test_survives_characters_that_no_database_takes(client: httpx.Client, project: Json, task: Json) -> None:
    for text in ("\\u0000", "\\ud800"):
        for endpoint in endpoints(project, task):
            name = "name" if "tasks" not in endpoint[1] else "title"
            survived(send(client, endpoint, f'{{"{name}": "{word()}{text}"}}'.encode()))
        survived(send(client, ("PATCH", project_url(project)), f'{{"description": "x{text}"}}'.encode()))
        survived(send(client, ("PATCH", task_url(task)), f'{{"tags": ["x{text}"]}}'.encode()))
        survived(send(client, ("POST", f"{project_url(project)}/tasks"), f'{{"title": "x", "{text}": 1}}'.encode()))
    for url in (project_url(project), f"/tasks?project_id={project['id']}"):
        expect(client.get(url), 200)


def test_survives_dates_at_the_end_of_time(client: httpx.Client, project: Json, task: Json) -> None:
    for date in ("0001-01-01", "9999-12-31", "10000-01-01", "9" * 400):
        answer = survived(client.patch(task_url(task), json={"due_date": date}))
        if answer.status_code == 200:
            assert read(client, task_url(task))["due_date"] == date
    expect(client.get(f"/tasks?project_id={project['id']}&sort=-due_date"), 200)


def test_odd_ids_are_not_found(client: httpx.Client) -> None:
    for odd in (2**31, 2**63, "9" * 400, "-1", "abc", "%00", "%ff"):
        for kind in ("projects", "tasks"):
            expect(client.get(f"/{kind}/{odd}"), 404, 422, 400)
    for odd in (2**31, 2**63, "%00"):
        for kind, changes in (("projects", {"description": "x"}), ("tasks", {"priority": 1})):
            expect(client.patch(f"/{kind}/{odd}", json=changes), 404, 422, 400)
            expect(client.delete(f"/{kind}/{odd}"), 404, 422, 400)
        expect(client.post(f"/projects/{odd}/tasks", json={"title": "x"}), 404, 422, 400)


@pytest.mark.parametrize(
    "query",
    [
        "project_id=2147483648",
        "project_id=9223372036854775808",
        "project_id=%00",
        f"priority={10**26}",
        "priority=2147483648",
        "status=%00",
        "sort=%00",
        f"offset={10**26}",
        "offset=9223372036854775807",
        "q=%00",
        "q=%ED%A0%80",
        "q='",
        "tag=%00",
        "tag=%ff",
    ],
)
def test_survives_odd_queries(client: httpx.Client, query: str) -> None:
    answer = survived(client.get(f"/tasks?{query}"))
    if answer.status_code == 200 and query.startswith(("project_id", "priority", "offset")):
        assert answer.json()["items"] == [], f"{query} finds something"


def test_survives_odd_pages_of_projects(client: httpx.Client) -> None:
    for query in (f"offset={2**31}", f"offset={2**63}", f"offset={10**30}"):
        answer = survived(client.get(f"/projects?{query}"))
        assert answer.status_code != 200 or answer.json()["items"] == [], f"{query}: {answer.text[:200]}"
    survived(client.get(f"/projects?limit={10**30}"))


def test_survives_a_long_search(client: httpx.Client, project: Json) -> None:
    task = add_task(client, project, title="a" * 200)
    for name in ("q", "tag"):
        answer = survived(client.get("/tasks", params={"project_id": project["id"], name: "a" * 10_000}))
        assert answer.status_code != 200 or answer.json()["items"] == [], answer.text[:200]
    assert read(client, task_url(task))["title"] == "a" * 200


def test_refuses_bodies_of_another_type(client: httpx.Client, project: Json, task: Json) -> None:
    for method, url in endpoints(project, task):
        refused(client.request(method, url, data={"name": word(), "title": word()}))
        refused(client.request(method, url, content=b"\x89PNG\r\n\xff\xd8", headers={"content-type": "image/png"}))
