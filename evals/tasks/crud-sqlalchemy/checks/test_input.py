"""Odd and hostile input: refused or taken, never a broken answer."""

from __future__ import annotations

import re

import httpx
import pytest
from api import (
    JSON,
    Json,
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
PICTURE = b"\x89PNG\r\n\xff\xd8"
QUERIES = [
    "/tasks?project_id=2147483648",
    "/tasks?project_id=9223372036854775808",
    "/tasks?project_id=%00",
    f"/tasks?priority={10**26}",
    "/tasks?priority=2147483648",
    "/tasks?status=%00",
    "/tasks?sort=%00",
    f"/tasks?offset={10**26}",
    "/tasks?offset=9223372036854775807",
    "/tasks?q=%00",
    "/tasks?q=%ED%A0%80",
    "/tasks?q='",
    f"/tasks?q={'a' * 10_000}",
    "/tasks?tag=%00",
    "/tasks?tag=%ff",
    f"/tasks?tag={'a' * 10_000}",
    f"/projects?offset={2**31}",
    f"/projects?offset={2**63}",
    f"/projects?offset={10**30}",
]
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


def test_odd_ids_are_not_found(client: httpx.Client) -> None:
    for odd in (2**31, 2**63, "9" * 400, "-1", "abc", "%00", "%ff"):
        for kind in ("projects", "tasks"):
            expect(client.get(f"/{kind}/{odd}"), 404, 422, 400)
    for odd in (2**31, 2**63, "%00"):
        for kind, changes in (("projects", {"description": "x"}), ("tasks", {"priority": 1})):
            expect(client.patch(f"/{kind}/{odd}", json=changes), 404, 422, 400)
            expect(client.delete(f"/{kind}/{odd}"), 404, 422, 400)
        expect(client.post(f"/projects/{odd}/tasks", json={"title": "x"}), 404, 422, 400)


def test_refuses_bodies_that_are_no_json_objects(client: httpx.Client, project: Json, task: Json) -> None:
    """Another type, broken text, nested without end."""
    for endpoint in endpoints(project, task):
        for body in (*NOT_OBJECTS, *BAD_UTF8):
            refused(send(client, endpoint, body))
        refused(client.request(*endpoint, data={"name": word(), "title": word()}))
        refused(client.request(*endpoint, content=PICTURE, headers={"content-type": "image/png"}))
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
    for date in ("0001-01-01", "9999-12-31", "10000-01-01", "9" * 400):
        answer = survived(client.patch(task_url(task), json={"due_date": date}))
        if answer.status_code == 200:
            assert read(client, task_url(task))["due_date"] == date
    assert read(client, task_url(task))["priority"] == task["priority"]


@pytest.mark.parametrize("query", QUERIES)
def test_survives_odd_queries(client: httpx.Client, query: str) -> None:
    """Beyond every number and alphabet: refused, or nothing is found."""
    answer = survived(client.get(query))
    if answer.status_code == 200 and not re.search("sort|status|q='", query):
        assert answer.json()["items"] == [], f"{query} finds something"
