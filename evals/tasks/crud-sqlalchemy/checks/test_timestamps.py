"""created_at and updated_at."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import product

import httpx
from api import (
    DONE,
    Json,
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


def stamps_after(client: httpx.Client, url: str, made: Json, changes: Json) -> Json:
    """What is there after a change, made again when the clock of the service has not moved on since."""
    for wait in (0, 0.02, 1.0):
        time.sleep(wait)
        expect(patch(client, url, changes), *DONE)
        found = read(client, url)
        if instant(found["updated_at"]) > instant(made["updated_at"]):
            break
    return found


def test_a_change_moves_updated_at_only(client: httpx.Client, project: Json, task: Json) -> None:
    for url, made, changes in (
        (task_url(task), task, {"priority": 1}),
        (project_url(project), project, {"description": "changed"}),
    ):
        found = stamps_after(client, url, made, changes)
        assert instant(found["updated_at"]) > instant(made["updated_at"]), f"{url}: updated_at stays: {found}"
        assert instant(found["created_at"]) == instant(made["created_at"]), f"{url}: created_at has changed: {found}"


def test_timestamps_have_a_time_zone(client: httpx.Client, project: Json, task: Json) -> None:
    """And are the same ones wherever they are shown: in the answer to POST, alone and in lists."""
    of_project = project, read(client, project_url(project)), {p["id"]: p for p in all_projects(client)}[project["id"]]
    of_task = task, read(client, task_url(task)), listed(client, project_id=project["id"])["items"][0]
    for shown, name in product((of_project, of_task), NAMES):
        moments = [instant(one[name]) for one in shown]
        lag = datetime.now(UTC) - moments[0]
        assert abs(lag) < timedelta(minutes=5), f"{name} {shown[0][name]} is {lag} before now"
        if name == "created_at" or shown is of_task:
            assert len(set(moments)) == 1, f"{name} differs: {[one[name] for one in shown]}"
