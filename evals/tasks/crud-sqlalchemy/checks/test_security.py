"""What an attacker would try."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from api import (
    DONE,
    JSON,
    Commits,
    Json,
    add_project,
    add_task,
    expect,
    instant,
    listed,
    patch,
    project_url,
    read,
    refused,
    task_url,
    unknown,
    word,
)

LEAKS = re.compile(
    r"Traceback \(most recent|sqlalche\.me|\bsqlalchemy\.|\basyncpg\b|\bpsycopg\b|site-packages|\.py\b|DETAIL:|pydantic_core"
    r"|\bSELECT\b.+\bFROM\b|\bINSERT INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE FROM\b|duplicate key value|commit refused"
    r"|violates (unique|foreign|check|not-null)",
    re.DOTALL,
)
INJECTIONS = ("' OR '1'='1", "%' OR 1=1 --", "\\' OR 1=1 --")


@pytest.mark.parametrize(
    "sort",
    ["(select 1/0)", "priority; select pg_sleep(2)", "-priority/0", "priority--"],
)
def test_the_order_takes_no_sql(client: httpx.Client, sort: str) -> None:
    refused(client.get("/tasks", params={"sort": sort}))


def test_filters_take_no_sql(client: httpx.Client, project: Json) -> None:
    plain, owner = add_task(client, project), {"project_id": project["id"]}
    for text in INJECTIONS:
        for name in ("q", "tag"):
            assert listed(client, **owner, **{name: text})["items"] == [], f"{name}={text!r} finds another task"
        task = add_task(client, project, title=text, tags=[text])
        for name in ("q", "tag"):
            items = listed(client, **owner, **{name: text})["items"]
            assert [item["id"] for item in items] == [task["id"]], f"{name}={text!r} does not find that very text"
        expect(client.delete(task_url(task)), 204)
    assert read(client, task_url(plain))["title"] == plain["title"]


def test_errors_tell_nothing_of_the_inside(
    client: httpx.Client, project: Json, task: Json, refused_commits: Commits
) -> None:
    answers = [
        client.post("/projects", json={"name": project["name"]}),
        patch(client, project_url(add_project(client)), {"name": project["name"]}),
        client.post("/projects", json={"name": ["x"]}),
        client.post("/projects", content=b'{"name": NaN}', headers=JSON),
        client.post("/projects", content=b"{", headers=JSON),
        client.get(f"/projects/{unknown(project['id'])}"),
        client.post(f"/projects/{unknown(project['id'])}/tasks", json={"title": "x"}),
        patch(client, task_url(task), {"status": "open"}),
        patch(client, task_url(task), {"title": "x\x00"}),
        patch(client, task_url(task), {"priority": 1}, if_match='"old"'),
        client.get(f"/tasks/{2**63}"),
        client.get("/tasks", params={"sort": "(select 1/0)"}),
        client.get("/tasks?q=%00"),
        client.get(f"/tasks?offset={2**63}"),
    ]
    with refused_commits():
        for accept in ("application/json", "text/html"):
            headers = {"accept": accept}
            answers.append(client.post("/projects", json={"name": word()}, headers=headers))
            answers.append(client.patch(task_url(task), json={"priority": 1}, headers=headers))
    for answer in answers:
        leak = LEAKS.search(answer.text) if answer.status_code >= 400 else None
        assert leak is None, (
            f"{answer.request.method} {answer.request.url} tells {leak and leak[0]!r}: {answer.text[:500]}"
        )


def test_the_log_keeps_the_database_password(client: httpx.Client, service: Any, project: Json) -> None:
    password = urlsplit(service.env["DATABASE_URL"]).password
    read(client, project_url(project))
    assert password and password not in service.log(), "the password of the database is in the log"


def test_other_sites_get_no_credentials(client: httpx.Client) -> None:
    site = f"https://{word()}.example"
    preflight = {"origin": site, "access-control-request-method": "DELETE"}
    for answer in (
        client.get("/projects?limit=1", headers={"origin": site, "cookie": "a=b"}),
        client.options("/projects", headers=preflight),
    ):
        allowed = answer.headers.get("access-control-allow-origin")
        trusted = answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        assert not (trusted and allowed in (site, "*")), f"{site} may act as the user: {dict(answer.headers)}"


def test_nobody_sets_what_the_service_decides(client: httpx.Client, project: Json, task: Json) -> None:
    """Such fields are refused or ignored, in a new project or task and in an old one."""
    past, places = "2001-01-01T00:00:00Z", ("/projects", f"{project_url(project)}/tasks")
    forged: Json = {
        "created_at": past,
        "updated_at": past,
        "task_count": 987_654,
        "project_id": add_project(client)["id"],
    }
    for field, value in (*forged.items(), ("id", unknown(project["id"])), ("id", unknown(task["id"]))):
        for place, name in zip(places, ("name", "title"), strict=True):
            answer = expect(client.post(place, json={name: word(), field: value}), 201, 422)
            if answer.status_code == 201:
                made = read(client, f"{'/tasks' if name == 'title' else place}/{answer.json()['id']}")
                assert_own(made, field, value)
        for url in (project_url(project), task_url(task)):
            if field != "project_id":
                expect(client.patch(url, json={field: value}), *DONE, 422)
                assert_own(read(client, url), field, value)


def assert_own(shown: Json, field: str, value: Any) -> None:
    if field in ("created_at", "updated_at"):
        assert instant(shown[field]).year > 2001, f"{field} was set from outside: {shown}"
    else:
        assert shown.get(field) != value, f"{field} was set from outside: {shown}"
