"""Tasks: create, read, change, delete."""

from __future__ import annotations

from typing import Any

import httpx
from api import (
    DONE,
    Json,
    add_project,
    add_task,
    change,
    expect,
    ids,
    instant,
    letters,
    listed,
    patch,
    project_url,
    read,
    task_url,
    unknown,
    word,
)

TAGS = ["zeta", "alpha", "a,b", 'say "hi"', "{x}", "back\\slash", "50%", "Größe", "it's", "[1]"]


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


def refuses(client: httpx.Client, project: Json, task: Json, name: str, values: list[Any]) -> None:
    """Each value is invalid for a new task and for an old one, which stays as it is."""
    for value in values:
        expect(client.post(f"{project_url(project)}/tasks", json={"title": word(), name: value}), 422)
    for value in values[:2]:
        expect(patch(client, task_url(task), {name: value}), 422)
    assert read(client, task_url(task))[name] == task[name]
    assert len(listed(client, project_id=project["id"])["items"]) == 1, "a refused task was stored"


def test_refuses_an_unknown_status(client: httpx.Client, project: Json, task: Json) -> None:
    refuses(client, project, task, "status", ["open", "", ["todo"]])


def test_refuses_a_priority_out_of_bounds(client: httpx.Client, project: Json, task: Json) -> None:
    refuses(client, project, task, "priority", [0, 6, "high", [3]])


def test_refuses_what_is_no_date(client: httpx.Client, project: Json, task: Json) -> None:
    refuses(client, project, task, "due_date", ["tomorrow", "2031-02-30", ["2031-01-01"]])


def test_refuses_what_is_no_list_of_strings(client: httpx.Client, project: Json, task: Json) -> None:
    refuses(client, project, task, "tags", ["red", [["red"]], [None], {"red": 1}])


def test_takes_every_status_and_priority(client: httpx.Client, task: Json) -> None:
    for status, priority in (("todo", 1), ("done", 2), ("doing", 5)):
        found = change(client, task_url(task), {"status": status, "priority": priority})
        assert (found["status"], found["priority"]) == (status, priority), found


def test_keeps_tags_in_order(client: httpx.Client, project: Json) -> None:
    task = add_task(client, project, tags=TAGS)
    assert task["tags"] == TAGS and read(client, task_url(task))["tags"] == TAGS
    backwards = TAGS[::-1]
    assert change(client, task_url(task), {"tags": backwards})["tags"] == backwards
    assert change(client, task_url(task), {"tags": []})["tags"] == []


def test_keeps_text_as_it_is(client: httpx.Client, project: Json) -> None:
    unique = word()
    text = f"“Żółć” – 北京 🚀 O'Brien; DROP <b>& {unique}"
    described = f"First line\nsecond line — {text}"
    made = add_project(client, name=text, description=described)
    found = read(client, project_url(made))
    assert (found["name"], found["description"]) == (text, described), found
    task = add_task(client, project, title=text)
    assert read(client, task_url(task))["title"] == text
    assert [item["title"] for item in listed(client, project_id=project["id"])["items"]] == [text]


def test_patch_changes_only_what_it_is_given(client: httpx.Client, task: Json) -> None:
    expected = {key: task[key] for key in ("id", "project_id", "title", "status", "priority", "due_date", "tags")}
    for changes in (
        {"title": word()},
        {"status": "done"},
        {"priority": 1},
        {"due_date": "2032-01-02"},
        {"tags": [word()]},
    ):
        found = change(client, task_url(task), changes)
        expected |= changes
        assert {key: found[key] for key in expected} == expected, f"after {changes}: {found}"


def test_patch_changes_only_what_it_is_given_of_a_project(client: httpx.Client) -> None:
    project = add_project(client, description=word())
    name, text = word(), word()
    renamed = change(client, project_url(project), {"name": name})
    assert (renamed["name"], renamed["description"]) == (name, project["description"]), renamed
    described = change(client, project_url(project), {"description": text})
    assert (described["name"], described["description"]) == (name, text), described


def comparable(thing: Json) -> Json:
    """However a timestamp is written, and whether what is empty is null or left out."""
    stamps = {name: instant(thing[name]) for name in ("created_at", "updated_at")}
    return {name: value for name, value in thing.items() if value is not None} | stamps


def test_patch_answers_what_it_stored(client: httpx.Client, project: Json, task: Json) -> None:
    add_task(client, project)
    for url, changes in ((task_url(task), {"priority": 5}), (project_url(project), {"description": word()})):
        answer = expect(patch(client, url, changes), *DONE)
        if answer.status_code == 200:
            assert comparable(answer.json()) == comparable(read(client, url))


def test_an_empty_patch_keeps_everything(client: httpx.Client, project: Json, task: Json) -> None:
    described = change(client, project_url(project), {"description": word()})
    kept = change(client, project_url(project), {})
    assert {key: kept[key] for key in ("name", "description")} == {
        key: described[key] for key in ("name", "description")
    }
    same = change(client, task_url(task), {})
    for key in ("title", "status", "priority", "due_date", "tags"):
        assert same[key] == task[key], f"{key}: {same[key]!r} instead of {task[key]!r}"


def test_null_clears_what_may_be_empty(client: httpx.Client, task: Json) -> None:
    project = add_project(client, description=word())
    assert change(client, project_url(project), {"description": None}).get("description") is None
    cleared = change(client, task_url(task), {"due_date": None})
    assert cleared.get("due_date") is None and cleared["title"] == task["title"], cleared


def test_null_is_invalid_elsewhere(client: httpx.Client, task: Json) -> None:
    for name in ("title", "status", "priority", "tags"):
        expect(patch(client, task_url(task), {name: None}), 422)
        assert read(client, task_url(task))[name] == task[name]


def test_null_is_no_name_of_a_project(client: httpx.Client, project: Json) -> None:
    expect(patch(client, project_url(project), {"name": None}), 422)
    assert read(client, project_url(project))["name"] == project["name"]


def test_an_invalid_patch_changes_nothing(client: httpx.Client, project: Json, task: Json) -> None:
    expect(patch(client, task_url(task), {"title": word(), "status": "open", "tags": []}), 422)
    kept = read(client, task_url(task))
    for key in ("title", "status", "tags"):
        assert kept[key] == task[key], f"{key}: {kept[key]!r} instead of {task[key]!r}"
    expect(patch(client, project_url(project), {"description": word(), "name": ""}), 422)
    assert read(client, project_url(project)).get("description") is None


def test_deletes_a_task_once(client: httpx.Client, project: Json, task: Json) -> None:
    kept = add_task(client, project)
    gone = expect(client.delete(task_url(task)), 204)
    assert gone.content == b"", gone.content
    expect(client.get(task_url(task)), 404)
    expect(patch(client, task_url(task), {"priority": 1}), 404)
    expect(client.delete(task_url(task)), 404)
    assert ids(listed(client, project_id=project["id"])["items"]) == [kept["id"]]


def test_unknown_tasks_are_404(client: httpx.Client, task: Json) -> None:
    url = f"/tasks/{unknown(task['id'])}"
    expect(client.get(url), 404)
    expect(patch(client, url, {"priority": 1}), 404)
    expect(client.delete(url), 404)


def test_no_task_without_its_project(client: httpx.Client, project: Json) -> None:
    title = word()
    expect(client.post(f"/projects/{unknown(project['id'])}/tasks", json={"title": title}), 404)
    expect(client.delete(project_url(project)), 204)
    expect(client.post(f"{project_url(project)}/tasks", json={"title": title}), 404)
    assert listed(client, q=title)["items"] == []
