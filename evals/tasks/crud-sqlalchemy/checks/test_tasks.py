"""Tasks: create, read, change, delete."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api import (
    DONE,
    Json,
    add_project,
    add_task,
    change,
    expect,
    instant,
    letters,
    listed,
    patch,
    project_url,
    read,
    task_url,
    word,
)

TAGS = ["zeta", "alpha", "a,b", 'say "hi"', "{x}", "back\\slash", "50%", "Größe", "it's", "[1]"]
INVALID: dict[str, list[Any]] = {
    "status": ["open", "", ["todo"]],
    "priority": [0, 6, "high", [3]],
    "due_date": ["tomorrow", "2031-02-30", ["2031-01-01"]],
    "tags": ["red", [["red"]], [None], {"red": 1}],
}


def test_creates_a_task_with_defaults(client: httpx.Client, project: Json) -> None:
    titles = [word(), word()]
    made = [add_task(client, project, title=title) for title in titles]
    assert made[0]["id"] != made[1]["id"]
    for title, task in reversed(list(zip(titles, made, strict=True))):
        for shown in (task, read(client, task_url(task))):
            assert shown["id"] == task["id"] and shown["title"] == title, shown
            assert shown["project_id"] == project["id"], shown
            assert (shown["status"], shown["priority"], shown["tags"]) == ("todo", 3, []), shown
            assert shown.get("due_date") is None, shown


def test_creates_a_task_with_every_field(client: httpx.Client, project: Json) -> None:
    plans: list[Json] = [
        {"title": word(), "status": "doing", "priority": 1, "due_date": "2031-05-17", "tags": ["z", word(), "a"]},
        {"title": word(), "status": "done", "priority": 5, "due_date": "2024-02-29", "tags": [word()]},
        {"title": word(), "status": "todo", "priority": 4, "due_date": "1999-12-31", "tags": []},
    ]
    made = [add_task(client, project, **plan) for plan in plans]
    for plan, task in zip(plans, made, strict=True):
        for shown in (task, read(client, task_url(task))):
            assert {key: shown.get(key) for key in plan} == plan, shown


def test_bounds_the_title_of_a_task(client: httpx.Client, project: Json, task: Json) -> None:
    for length in (1, 200):
        title = letters(length)
        assert read(client, task_url(add_task(client, project, title=title)))["title"] == title
    url = f"{project_url(project)}/tasks"
    for body in ({}, {"title": None}, {"title": ""}, {"title": letters(201)}, {"title": [word()]}):
        expect(client.post(url, json=body), 422)
    for title in ("", letters(201)):
        expect(patch(client, task_url(task), {"title": title}), 422)
    assert read(client, task_url(task))["title"] == task["title"]


@pytest.mark.parametrize("name", INVALID)
def test_refuses_invalid_fields_of_a_task(client: httpx.Client, project: Json, task: Json, name: str) -> None:
    """Of a new task and of an old one, which stays as it is: no other field of the request is stored either."""
    for value in INVALID[name]:
        expect(client.post(f"{project_url(project)}/tasks", json={"title": word(), name: value}), 422)
    for value in INVALID[name][:2]:
        expect(patch(client, task_url(task), {"title": word(), name: value}), 422)
    kept = read(client, task_url(task))
    assert (kept[name], kept["title"]) == (task[name], task["title"]), kept
    assert len(listed(client, project_id=project["id"])["items"]) == 1, "a refused task was stored"


def test_keeps_text_as_it_is(client: httpx.Client, project: Json) -> None:
    text = f"“Żółć” 北京 🚀 O'Brien; DROP <b>& {word()}"
    described = f"First line\nsecond line — {text}"
    made = add_project(client, name=text, description=described)
    found = read(client, project_url(made))
    assert (found["name"], found["description"]) == (text, described), found
    task = add_task(client, project, title=text)
    assert read(client, task_url(task))["title"] == text
    assert [item["title"] for item in listed(client, project_id=project["id"])["items"]] == [text]


def test_keeps_tags_as_they_are(client: httpx.Client, project: Json) -> None:
    """Their order and every character of theirs."""
    task = add_task(client, project, tags=TAGS)
    assert task["tags"] == TAGS and read(client, task_url(task))["tags"] == TAGS
    backwards = TAGS[::-1]
    assert change(client, task_url(task), {"tags": backwards})["tags"] == backwards
    assert [item["tags"] for item in listed(client, project_id=project["id"])["items"]] == [backwards]
    assert change(client, task_url(task), {"tags": []})["tags"] == []


def comparable(thing: Json) -> Json:
    """However a timestamp is written, and whether what is empty is null or left out."""
    stamps = {name: instant(thing[name]) for name in ("created_at", "updated_at")}
    return {name: value for name, value in thing.items() if value is not None} | stamps


def patched(client: httpx.Client, url: str, before: Json, changes: Json) -> Json:
    """What is there after a PATCH, which has changed what it was given and nothing else, and says so."""
    answer = expect(patch(client, url, changes), *DONE)
    found = read(client, url)
    expected = before | changes | {"updated_at": found["updated_at"]}
    assert comparable(found) == comparable(expected), f"after {changes}: {found}, it was {before}"
    if answer.status_code == 200:
        assert comparable(answer.json()) == comparable(found), f"PATCH answered {answer.text}, stored is {found}"
    return found


def test_null_clears_what_may_be_empty(client: httpx.Client, task: Json) -> None:
    project = add_project(client, description=word())
    assert change(client, project_url(project), {"description": None}).get("description") is None
    cleared = change(client, task_url(task), {"due_date": None})
    assert cleared.get("due_date") is None and cleared["title"] == task["title"], cleared


def test_null_is_invalid_elsewhere(client: httpx.Client, project: Json, task: Json) -> None:
    for name in ("title", "status", "priority", "tags"):
        expect(patch(client, task_url(task), {name: None}), 422)
        assert read(client, task_url(task))[name] == task[name]
    expect(patch(client, project_url(project), {"name": None}), 422)
    assert read(client, project_url(project))["name"] == project["name"]


def test_patch_changes_only_what_it_is_given(client: httpx.Client, project: Json, task: Json) -> None:
    found = read(client, task_url(task))
    for changes in (
        {"title": word()},
        {"status": "done", "priority": 1},
        {"due_date": "2032-01-02"},
        {"tags": [word()]},
        {},
        {"status": "todo", "priority": 5},
    ):
        found = patched(client, task_url(task), found, changes)
    found = read(client, project_url(project))
    for changes in ({"description": word()}, {"name": word()}, {}, {"name": word(), "description": word()}):
        found = patched(client, project_url(project), found, changes)
