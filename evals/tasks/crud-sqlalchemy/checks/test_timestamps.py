"""created_at and updated_at."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import httpx
from api import (
    DONE,
    Json,
    add_project,
    add_task,
    all_projects,
    expect,
    instant,
    listed,
    patch,
    project_url,
    read,
    task_url,
)

NAMES = ("created_at", "updated_at")


def test_timestamps_have_a_time_zone(client: httpx.Client, project: Json, task: Json) -> None:
    for shown in (project, task, read(client, project_url(project)), read(client, task_url(task))):
        for name in NAMES:
            lag = datetime.now(UTC) - instant(shown[name])
            assert abs(lag) < timedelta(minutes=5), f"{name} {shown[name]} is {lag} before now"


def test_timestamps_are_the_same_everywhere(client: httpx.Client, project: Json) -> None:
    task = add_task(client, project)
    in_list = {found["id"]: found for found in all_projects(client)}[project["id"]]
    for shown in (read(client, project_url(project)), in_list):
        assert instant(shown["created_at"]) == instant(project["created_at"]), f"{shown} was {project}"
    for shown in (read(client, task_url(task)), listed(client, project_id=project["id"])["items"][0]):
        assert [instant(shown[name]) for name in NAMES] == [instant(task[name]) for name in NAMES], (
            f"{shown} was {task}"
        )


def stamps_after(client: httpx.Client, url: str, made: Json, changes: Json) -> Json:
    """What is there after a change, made again when the clock of the service has not moved on since."""
    for wait in (0, 0.02, 1.0):
        time.sleep(wait)
        expect(patch(client, url, changes), *DONE)
        found = read(client, url)
        if instant(found["updated_at"]) > instant(made["updated_at"]):
            break
    return found


def test_updated_at_grows_with_a_change(client: httpx.Client, task: Json) -> None:
    found = stamps_after(client, task_url(task), task, {"priority": 1})
    assert instant(found["updated_at"]) > instant(task["updated_at"]), found


def test_updated_at_of_a_project_grows_with_a_change(client: httpx.Client) -> None:
    project = add_project(client)
    found = stamps_after(client, project_url(project), project, {"description": "changed"})
    assert instant(found["updated_at"]) > instant(project["updated_at"]), found


def test_created_at_never_changes(client: httpx.Client, project: Json, task: Json) -> None:
    for url, made, changes in (
        (task_url(task), task, {"title": "changed", "tags": []}),
        (project_url(project), project, {"description": "changed"}),
    ):
        expect(patch(client, url, changes), *DONE)
        assert instant(read(client, url)["created_at"]) == instant(made["created_at"]), url
