"""Projects: create, read, list, delete."""

from __future__ import annotations

from functools import partial

import httpx
from api import (
    DONE,
    Commits,
    Connect,
    Json,
    Together,
    add_project,
    add_task,
    all_projects,
    change,
    expect,
    ids,
    letters,
    listed,
    patch,
    project_url,
    read,
    task_url,
    unknown,
    word,
)


def test_creates_a_project(client: httpx.Client) -> None:
    names, text = [word(), word()], word()
    first = add_project(client, name=names[0], description=text)
    second = add_project(client, name=names[1])
    assert first["id"] != second["id"]
    for made in (second, first):
        found = read(client, project_url(made))
        assert found["name"] == made["name"] and made["name"] in names, found
        assert found["id"] == made["id"] and found["task_count"] == made["task_count"] == 0, found
    assert first["description"] == text == read(client, project_url(first))["description"]
    assert second.get("description") is None and read(client, project_url(second)).get("description") is None


def test_bounds_the_name_of_a_project(client: httpx.Client, project: Json) -> None:
    for length in (1, 100):
        name = letters(length)
        assert read(client, project_url(add_project(client, name=name)))["name"] == name
    for body in ({}, {"name": None}, {"name": ""}, {"name": letters(101)}, {"name": [word()]}, {"name": {"a": 1}}):
        expect(client.post("/projects", json=body), 422)
    for name in ("", letters(101)):
        expect(patch(client, project_url(project), {"name": name}), 422)
    assert read(client, project_url(project))["name"] == project["name"]


def test_deleting_a_project_deletes_its_tasks(client: httpx.Client, project: Json) -> None:
    kept = add_project(client)
    lost, stays = [add_task(client, project) for _ in range(2)], add_task(client, kept)
    expect(client.delete(project_url(project)), 204)
    for task in lost:
        expect(client.get(task_url(task)), 404)
        assert listed(client, q=task["title"])["items"] == [], "a task of the deleted project is still listed"
    assert read(client, task_url(stays))["title"] == stays["title"]


def test_refuses_a_taken_name(client: httpx.Client, project: Json) -> None:
    """For a new project and for an old one; its own name is not taken, and that of a deleted one is free."""
    other, text = add_project(client), word()
    expect(client.post("/projects", json={"name": project["name"], "description": text}), 409)
    expect(patch(client, project_url(other), {"name": project["name"], "description": text}), 409)
    for kept in (project, other):
        found = read(client, project_url(kept))
        assert found["name"] == kept["name"] and found.get("description") is None, found
    assert [found["name"] for found in all_projects(client)].count(project["name"]) == 1
    found = change(client, project_url(project), {"name": project["name"], "description": text})
    assert found["name"] == project["name"] and found["description"] == text, found
    expect(client.delete(project_url(project)), 204)
    again = add_project(client, name=project["name"])
    assert read(client, project_url(again))["name"] == project["name"]


def test_a_name_is_taken_once_in_a_race(
    client: httpx.Client, connect: Connect, together: Together, slow_commits: Commits
) -> None:
    """By new projects, and by old ones that are renamed."""
    names = word(), word()
    urls = [project_url(add_project(client)) for _ in range(3)]
    with slow_commits(0.1):
        made = together([partial(connect().post, "/projects", json={"name": names[0]}) for _ in range(6)])
        renamed = together([partial(connect().patch, url, json={"name": names[1]}) for url in urls])
    assert sorted(answer.status_code for answer in made) == [201] + [409] * 5, [a.text[:200] for a in made]
    statuses = sorted(answer.status_code for answer in renamed)
    assert statuses[0] in DONE and statuses[1:] == [409, 409], [answer.text[:200] for answer in renamed]
    taken = [found["name"] for found in all_projects(client)]
    assert [taken.count(name) for name in names] == [1, 1], "two projects of one name"


def test_counts_the_tasks_of_a_project(client: httpx.Client, project: Json) -> None:
    """Alone and in the list, where a project without tasks is listed too."""
    busy, other = add_project(client), add_project(client)
    tasks = [add_task(client, busy) for _ in range(4)]
    add_task(client, other)
    expect(client.delete(task_url(tasks[0])), 204)
    expected = {busy["id"]: 3, other["id"]: 1, project["id"]: 0}
    alone = {made["id"]: read(client, project_url(made))["task_count"] for made in (busy, other, project)}
    assert alone == expected, f"{alone} instead of {expected}"
    counts = {found["id"]: found["task_count"] for found in all_projects(client)}
    assert {key: counts.get(key) for key in expected} == expected, "in the list"


def test_deletes_once(client: httpx.Client, project: Json, task: Json) -> None:
    """A task, then its project: gone for every method and from the lists, and others stay."""
    other_task, other = add_task(client, project), add_project(client)
    for url, field in ((task_url(task), "priority"), (project_url(project), "description")):
        gone = expect(client.delete(url), 204)
        assert gone.content == b"", gone.content
        expect(client.get(url), 404)
        expect(patch(client, url, {field: 1 if field == "priority" else "x"}), 404)
        expect(client.delete(url), 404)
        if field == "priority":
            assert ids(listed(client, project_id=project["id"])["items"]) == [other_task["id"]]
    left = ids(all_projects(client))
    assert project["id"] not in left and other["id"] in left


def test_unknown_ids_are_404(client: httpx.Client, project: Json, task: Json) -> None:
    title = word()
    for url, changes in (
        (f"/projects/{unknown(project['id'])}", {"description": word()}),
        (f"/tasks/{unknown(task['id'])}", {"priority": 1}),
    ):
        expect(client.get(url), 404)
        expect(patch(client, url, changes), 404)
        expect(client.delete(url), 404)
    expect(client.post(f"/projects/{unknown(project['id'])}/tasks", json={"title": title}), 404)
    expect(client.delete(project_url(project)), 204)
    expect(client.post(f"{project_url(project)}/tasks", json={"title": title}), 404)
    assert listed(client, q=title)["items"] == [], "a task without a project"


def test_lists_projects(client: httpx.Client) -> None:
    """In pages of limit and offset, on which each project is once."""
    made = [add_project(client, description=word()) for _ in range(3)]
    found = all_projects(client, size=10)
    assert len(set(ids(found))) == len(found), "a project is on two pages"
    by_id = {project["id"]: project for project in found}
    for project in made:
        assert by_id.get(project["id"], {}).get("name") == project["name"], f"not listed: {project}"
        assert by_id[project["id"]]["description"] == project["description"]
    beyond = expect(client.get("/projects", params={"offset": len(found) + 5}), 200).json()
    assert beyond["items"] == [] and beyond["total"] == len(found), beyond
    assert expect(client.get("/projects"), 200).json()["total"] == len(found), "total depends on the page"
    for query in ("limit=-1", "limit=many", "offset=-1", "offset=far"):
        expect(client.get(f"/projects?{query}"), 422)
