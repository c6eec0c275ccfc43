"""Data that several checks read and none changes."""

from __future__ import annotations

import httpx
import pytest
from api import Connect, Json, add_project, add_task

SHELF = 52  # more than one default page of 50


@pytest.fixture
def project(client: httpx.Client) -> Json:
    """A project of this check's own."""
    return add_project(client)


@pytest.fixture
def task(client: httpx.Client, project: Json) -> Json:
    """A task of this check's own, with every field set."""
    return add_task(client, project, status="doing", priority=4, due_date="2031-05-17", tags=["one", "two"])


@pytest.fixture(scope="session")
def reader(connect: Connect) -> httpx.Client:
    return connect()


@pytest.fixture(scope="session")
def shelf(reader: httpx.Client) -> tuple[Json, list[Json]]:
    """A project with 52 tasks that differ in nothing that a list sorts by, but for the moment they were made."""
    project = add_project(reader)
    return project, [add_task(reader, project, priority=2) for _ in range(SHELF)]


@pytest.fixture(scope="session")
def board(reader: httpx.Client) -> tuple[Json, list[Json]]:
    """A project with six different tasks; a second one with tasks that would match the same filters."""
    project, other = add_project(reader), add_project(reader)
    plans: list[Json] = [
        {
            "title": "Paint the fence",
            "status": "todo",
            "priority": 2,
            "due_date": "2031-03-03",
            "tags": ["home", "red"],
        },
        {"title": "fence in the garden", "status": "done", "priority": 5, "tags": ["home"]},
        {"title": "Call the bank", "status": "todo", "priority": 1, "due_date": "2030-12-24", "tags": ["money"]},
        {"title": "Sharpen saws", "status": "doing", "priority": 4, "tags": ["homework", "red"]},
        {"title": "Bank the fire", "status": "done", "priority": 3, "due_date": "2031-01-15", "tags": []},
        {"title": "home", "status": "todo", "priority": 2, "due_date": "2029-06-01", "tags": ["red", "ho", "me"]},
    ]
    made = [add_task(reader, project, **plan) for plan in plans]
    for plan in plans[:3]:
        add_task(reader, other, **plan)
    return project, made
