"""What the database sees: durability, transactions, races, number of statements, several workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
from api import (
    DONE,
    Commits,
    Connect,
    Json,
    Together,
    add_project,
    add_task,
    expect,
    listed,
    patch,
    project_url,
    read,
    task_url,
    word,
)


def test_two_workers_share_one_fresh_database(service: Any, connect: Connect, together: Together) -> None:
    with service.another(workers=2, database="fresh") as other:
        clients = [connect(base_url=other.url) for _ in range(6)]
        name = word()
        answers = together([partial(client.post, "/projects", json={"name": name}) for client in clients])
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5, [a.text[:200] for a in answers]
        made = next(answer.json() for answer in answers if answer.status_code == 201)
        task = add_task(clients[0], made)
        for client in clients:
            assert read(client, task_url(task))["title"] == task["title"]
            assert expect(client.get("/projects"), 200).json()["total"] == 1
        assert "startup failed" not in other.log().lower(), f"a worker did not start: {other.log()[-1500:]}"


def test_writes_are_stored_before_the_answer(
    connect: Connect, project: Json, task: Json, together: Together, slow_commits: Commits
) -> None:
    """Each write is read back by another client as soon as it was answered, while every commit takes its time."""
    title, gone = word(), add_project(connect())

    def create() -> httpx.Response:
        url, reader = f"{project_url(project)}/tasks", connect()
        return reader.get(task_url(expect(connect().post(url, json={"title": word()}), 201).json()))

    def change() -> httpx.Response:
        reader = connect()
        expect(patch(connect(), task_url(task), {"title": title}), *DONE)
        return reader.get(task_url(task))

    def delete() -> httpx.Response:
        reader = connect()
        expect(connect().delete(project_url(gone)), 204)
        return reader.get(project_url(gone))

    with slow_commits(0.7):
        created, changed, deleted = together([create, change, delete])
    expect(created, 200)
    expect(changed, 200)
    assert changed.json()["title"] == title, "the answer came before the change was stored"
    expect(deleted, 404)


def test_a_refused_write_is_no_success(
    client: httpx.Client, project: Json, task: Json, refused_commits: Commits
) -> None:
    name = word()
    with refused_commits():
        answers = [
            client.post("/projects", json={"name": name}),
            client.post(f"{project_url(project)}/tasks", json={"title": name}),
            patch(client, task_url(task), {"title": name}),
            patch(client, project_url(project), {"name": name}),
            client.delete(task_url(task)),
            client.delete(project_url(project)),
        ]
    for answer in answers:
        asked = f"{answer.request.method} {answer.request.url}"
        assert answer.status_code >= 400, f"{asked} -> {answer.status_code}, but nothing was stored"
    assert read(client, task_url(task))["title"] == task["title"]
    assert read(client, project_url(project))["name"] == project["name"]


def spent(statements: Callable[[], int], call: Callable[[], httpx.Response]) -> int:
    before = statements()
    expect(call(), 200)
    return statements() - before


def grows(client: httpx.Client, statements: Callable[[], int], url: str, rows: int) -> str | None:
    """What is wrong with the numbers for 2 and for more rows, when it is wrong in each of four rounds.

    On a fresh connection a driver may first ask about types, and the database forgets counts when it has too many.
    """
    for _ in range(4):
        few, many = (spent(statements, partial(client.get, f"{url}{limit}")) for limit in (2, rows))
        if 0 < many <= few + 2:
            return None
    return f"{url}: {few} statements for 2 rows, {many} for {rows}"


def test_a_waiting_write_holds_up_nobody(
    client: httpx.Client, connect: Connect, project: Json, slow_commits: Commits
) -> None:
    """While a commit takes its time, others are answered in less than half of it, in the best of three rounds."""
    wait, shortest = 0.5, 9.0
    writer = connect()
    read(client, project_url(project))
    with slow_commits(wait), ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            write = pool.submit(writer.post, f"{project_url(project)}/tasks", json={"title": word()})
            time.sleep(0.08)
            started = time.monotonic()
            expect(client.get("/health"), 200)
            read(client, project_url(project))
            shortest = min(shortest, time.monotonic() - started)
            expect(write.result(), 201)
            if shortest < wait / 2:
                return
    raise AssertionError(f"two reads took {shortest:.2f} s beside a commit of {wait} s")


def test_no_task_outlives_a_project_deleted_meanwhile(
    client: httpx.Client, connect: Connect, slow_commits: Commits
) -> None:
    """A task and the end of its project at the same moment, in both orders."""
    clients = connect(), connect()
    for creates_first in (True, False):
        project, title = add_project(client), word()
        create = partial(clients[0].post, f"{project_url(project)}/tasks", json={"title": title})
        delete = partial(clients[1].delete, project_url(project))
        with slow_commits(0.2), ThreadPoolExecutor(1) as pool:
            first = pool.submit(create if creates_first else delete)
            time.sleep(0.08)
            second = (delete if creates_first else create)()
            created, deleted = (first.result(), second) if creates_first else (second, first.result())
        expect(created, 201, 404, 409)
        expect(deleted, 204, 409)
        left = listed(client, q=title)["items"]
        if deleted.status_code == 204:
            assert left == [], "the task is still there, its project is gone"
        expect(client.get(project_url(project)), 404 if deleted.status_code == 204 else 200)


def test_a_long_list_takes_no_more_statements(
    client: httpx.Client, shelf: tuple[Json, list[Json]], statements: Callable[[], int]
) -> None:
    for _ in range(12):
        add_project(client)
    for url, rows in (("/projects?limit=", 12), (f"/tasks?project_id={shelf[0]['id']}&limit=", 22)):
        problem = grows(client, statements, url, rows)
        assert problem is None, problem
