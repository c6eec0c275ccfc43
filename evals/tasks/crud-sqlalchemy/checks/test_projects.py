"""Projects: create, read, list, delete."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
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


def test_refuses_a_taken_name(client: httpx.Client, project: Json) -> None:
    expect(client.post("/projects", json={"name": project["name"], "description": word()}), 409)
    assert read(client, project_url(project)).get("description") is None
    assert [found["name"] for found in all_projects(client)].count(project["name"]) == 1


def test_refuses_a_taken_name_on_rename(client: httpx.Client, project: Json) -> None:
    other = add_project(client)
    expect(patch(client, project_url(other), {"name": project["name"], "description": word()}), 409)
    kept = read(client, project_url(other))
    assert kept["name"] == other["name"] and kept.get("description") is None, kept


def test_a_project_may_keep_its_own_name(client: httpx.Client, project: Json) -> None:
    text = word()
    kept = change(client, project_url(project), {"name": project["name"], "description": text})
    assert kept["name"] == project["name"] and kept["description"] == text, kept


def test_a_name_is_taken_once_in_a_race(
    client: httpx.Client, connect: Connect, together: Together, slow_commits: Commits
) -> None:
    name = word()
    with slow_commits(0.1):
        answers = together([partial(connect().post, "/projects", json={"name": name}) for _ in range(6)])
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5, [a.text[:200] for a in answers]
    assert [found["name"] for found in all_projects(client)].count(name) == 1


def test_a_name_is_given_once_in_a_race_of_renames(
    client: httpx.Client, connect: Connect, together: Together, slow_commits: Commits
) -> None:
    name = word()
    urls = [project_url(add_project(client)) for _ in range(3)]
    with slow_commits(0.1):
        answers = together([partial(connect().patch, url, json={"name": name}) for url in urls])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] in DONE and statuses[1:] == [409, 409], [answer.text[:200] for answer in answers]
    assert [read(client, url)["name"] for url in urls].count(name) == 1


def test_a_name_is_free_again_after_delete(client: httpx.Client, project: Json) -> None:
    expect(client.delete(project_url(project)), 204)
    again = add_project(client, name=project["name"])
    assert read(client, project_url(again))["name"] == project["name"]


def test_lists_projects(client: httpx.Client) -> None:
    made = [add_project(client, description=word()) for _ in range(3)]
    found = all_projects(client)
    assert len(set(ids(found))) == len(found), "a project is on two pages"
    by_id = {project["id"]: project for project in found}
    for project in made:
        assert by_id.get(project["id"], {}).get("name") == project["name"], f"not listed: {project}"
        assert by_id[project["id"]]["description"] == project["description"]
    assert expect(client.get("/projects"), 200).json()["total"] == len(found)


def test_pages_projects(client: httpx.Client) -> None:
    for _ in range(3):
        add_project(client)
    pages = [expect(client.get("/projects", params={"limit": 1, "offset": n}), 200).json() for n in range(3)]
    assert [len(page["items"]) for page in pages] == [1, 1, 1], "limit=1 means one project"
    assert len({page["items"][0]["id"] for page in pages}) == 3, "offset does not move on"
    total = pages[0]["total"]
    assert total >= 3 and [page["total"] for page in pages] == [total] * 3, "total depends on limit or offset"
    beyond = expect(client.get("/projects", params={"offset": total + 5}), 200).json()
    assert beyond["items"] == [] and beyond["total"] == total, beyond


@pytest.mark.parametrize("query", ["limit=-1", "limit=many", "offset=-1", "offset=far"])
def test_refuses_impossible_pages_of_projects(client: httpx.Client, query: str) -> None:
    expect(client.get(f"/projects?{query}"), 422)


def test_deletes_a_project_once(client: httpx.Client, project: Json) -> None:
    kept = add_project(client)
    gone = expect(client.delete(project_url(project)), 204)
    assert gone.content == b"", gone.content
    for answer in (
        client.get(project_url(project)),
        client.patch(project_url(project), json={"description": "x"}),
        client.delete(project_url(project)),
    ):
        expect(answer, 404)
    left = ids(all_projects(client))
    assert project["id"] not in left and kept["id"] in left


def test_deleting_a_project_deletes_its_tasks(client: httpx.Client, project: Json) -> None:
    kept = add_project(client)
    lost, stays = [add_task(client, project) for _ in range(2)], add_task(client, kept)
    expect(client.delete(project_url(project)), 204)
    for task in lost:
        expect(client.get(task_url(task)), 404)
        assert listed(client, q=task["title"])["items"] == [], "a task of the deleted project is still listed"
    assert read(client, task_url(stays))["title"] == stays["title"]


def test_unknown_projects_are_404(client: httpx.Client, project: Json) -> None:
    url = f"/projects/{unknown(project['id'])}"
    expect(client.get(url), 404)
    expect(client.patch(url, json={"description": word()}), 404)
    expect(client.delete(url), 404)


def test_counts_the_tasks_of_a_project(client: httpx.Client, project: Json) -> None:
    other = add_project(client)
    tasks = [add_task(client, project) for _ in range(3)]
    add_task(client, other)
    expect(client.delete(task_url(tasks[0])), 204)
    assert read(client, project_url(project))["task_count"] == 2
    assert read(client, project_url(other))["task_count"] == 1


def test_counts_tasks_in_the_list_of_projects(client: httpx.Client, project: Json) -> None:
    busy = add_project(client)
    for _ in range(3):
        add_task(client, busy)
    counts = {found["id"]: found["task_count"] for found in all_projects(client)}
    assert counts.get(busy["id"]) == 3, "three tasks were made"
    assert counts.get(project["id"]) == 0, "a project without tasks is listed with 0"
