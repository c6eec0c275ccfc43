"""GET /tasks: filters, search, order, pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api import (
    DONE,
    Json,
    add_project,
    add_task,
    expect,
    ids,
    instant,
    listed,
    patch,
    project_url,
    survived,
    task_url,
    unknown,
    word,
)

Board = tuple[Json, list[Json]]


def chosen(board: Board, *places: int) -> set[Any]:
    return {board[1][place]["id"] for place in places}


def found(client: httpx.Client, board: Board, **params: Any) -> set[Any]:
    """The tasks of the board that a filter finds."""
    return set(ids(listed(client, project_id=board[0]["id"], **params)["items"]))


def test_filters_together(client: httpx.Client, board: Board) -> None:
    assert found(client, board, status="todo", priority=2) == chosen(board, 0, 5)
    assert found(client, board, status="todo", priority=2, q="fence") == chosen(board, 0)
    assert found(client, board, q="Bank", status="done") == chosen(board, 4)
    assert found(client, board, tag="red", priority=4) == chosen(board, 3)
    assert found(client, board, tag="home", status="doing") == set()
    page = listed(client, project_id=board[0]["id"], tag="red", sort="priority", limit=2, offset=1)
    assert [item["priority"] for item in page["items"]] == [2, 4], page


def test_searches_within_the_title(client: httpx.Client, board: Board) -> None:
    assert found(client, board, q="fence") == chosen(board, 0, 1), "at the end and at the start of a title"
    assert found(client, board, q="the") == chosen(board, 0, 1, 2, 4), "in the middle of a title"
    assert found(client, board, q="home") == chosen(board, 5), "not in tags"
    assert found(client, board, q=word()) == set()


def test_searches_literally(client: httpx.Client, project: Json) -> None:
    titles = ["100% sure", "snake_case", "C:\\temp", "a.b*c", "100 percent", "snakeXcase", "C:temp"]
    tasks = {title: add_task(client, project, title=title) for title in titles}
    for q, title in {
        "100%": "100% sure",
        "%": "100% sure",
        "_": "snake_case",
        "\\": "C:\\temp",
        "a.b*": "a.b*c",
    }.items():
        page = listed(client, project_id=project["id"], q=q)
        assert ids(page["items"]) == [tasks[title]["id"]], f"q={q!r} finds {[item['title'] for item in page['items']]}"
    assert listed(client, project_id=project["id"], q="%sure")["items"] == []


def ordered(client: httpx.Client, board: Board, **params: Any) -> list[Json]:
    items: list[Json] = listed(client, project_id=board[0]["id"], **params)["items"]
    assert len(items) == 6, items
    return items


@pytest.mark.parametrize("sort", ["due_date", "-due_date"])
def test_tasks_without_due_date_come_last(client: httpx.Client, board: Board, sort: str) -> None:
    shown = [item.get("due_date") for item in ordered(client, board, sort=sort)]
    assert shown[4:] == [None, None] and None not in shown[:4], f"{sort}: {shown}"


@pytest.mark.parametrize("sort", ["priority", "-due_date"])
def test_pages_hold_each_task_once(client: httpx.Client, shelf: Board, sort: str) -> None:
    """All tasks of the shelf are equal in these orders: only a last, unique key keeps pages apart."""
    project, made = shelf
    seen: list[Any] = []
    for offset in (0, 5, 10, 15, 20, 25, 45):
        page = listed(client, project_id=project["id"], sort=sort, limit=5 if offset < 25 else 20, offset=offset)
        seen += ids(page["items"])
    assert len(seen) == len(set(seen)), f"sort={sort}: {len(seen) - len(set(seen))} tasks on two pages"
    assert set(seen) == set(ids(made)), f"sort={sort}: {len(set(ids(made)) - set(seen))} tasks on no page"


def test_total_counts_all_that_match(client: httpx.Client, shelf: Board, board: Board) -> None:
    for params in ({"limit": 1}, {"limit": 10, "offset": 50}, {"offset": 60}, {"status": "todo", "limit": 3}):
        page = listed(client, project_id=shelf[0]["id"], **params)
        assert page["total"] == 52, f"{params}: total {page['total']}"
    for params, count in (({}, 6), ({"status": "todo"}, 3), ({"tag": "red", "q": "the"}, 1), ({"q": word()}, 0)):
        page = listed(client, project_id=board[0]["id"], **params)
        assert page["total"] == count, f"{params}: total {page['total']} instead of {count}"


def test_filters_by_field(client: httpx.Client, board: Board) -> None:
    page = listed(client, project_id=board[0]["id"])
    assert set(ids(page["items"])) == set(ids(board[1])), page
    answer = survived(client.get("/tasks", params={"project_id": unknown(board[0]["id"])}))
    assert answer.status_code == 404 or answer.json()["items"] == [], answer.text
    assert found(client, board, status="todo") == chosen(board, 0, 2, 5)
    assert found(client, board, status="doing") == chosen(board, 3)
    assert found(client, board, priority=2) == chosen(board, 0, 5)
    assert found(client, board, priority=5) == chosen(board, 1)


def test_searches_in_any_letter_case(client: httpx.Client, project: Json) -> None:
    titles = ["Buy Milk AND Honey", "Ärger über ÖL", "Жук и ЁЖ"]
    tasks = {title: add_task(client, project, title=title) for title in titles}
    for title, task in tasks.items():
        for q in (title.lower(), title.upper(), title.swapcase()[2:]):
            assert ids(listed(client, project_id=project["id"], q=q)["items"]) == [task["id"]], q


def test_sorts_tasks(client: httpx.Client, board: Board) -> None:
    """By priority, date and creation, in both directions."""
    dates, priorities = ["2029-06-01", "2030-12-24", "2031-01-15", "2031-03-03"], [1, 2, 2, 3, 4, 5]
    for sign, step in (("", 1), ("-", -1)):
        shown = [item["priority"] for item in ordered(client, board, sort=f"{sign}priority")]
        assert shown == priorities[::step], f"sort={sign}priority: {shown}"
        due = [item.get("due_date") for item in ordered(client, board, sort=f"{sign}due_date")]
        assert [date for date in due if date] == dates[::step], f"sort={sign}due_date: {due}"
        made = [instant(item["created_at"]) for item in ordered(client, board, sort=f"{sign}created_at")]
        assert made == sorted(made)[::step], f"sort={sign}created_at: {made}"


def test_limit_and_offset_choose_the_page(client: httpx.Client, shelf: Board) -> None:
    project, _ = shelf
    whole = ids(listed(client, project_id=project["id"], limit=100)["items"])
    assert len(whole) == 52, "limit=100 shows all 52"
    assert ids(listed(client, project_id=project["id"])["items"]) == whole[:50], "50 by default"
    for limit, offset in ((1, 51), (7, 3), (20, 40), (10, 52)):
        page = listed(client, project_id=project["id"], limit=limit, offset=offset)
        assert ids(page["items"]) == whole[offset : offset + limit], f"limit={limit}, offset={offset}"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=all", "offset=-1", "offset=x"])
def test_limit_is_1_to_100(client: httpx.Client, query: str) -> None:
    expect(client.get(f"/tasks?{query}"), 422)


@pytest.mark.parametrize(
    "query", ["status=open", "status=todo,done", "priority=high", "sort=title", "sort=-status", "sort=--priority"]
)
def test_refuses_unknown_filters_and_orders(client: httpx.Client, query: str) -> None:
    expect(client.get(f"/tasks?{query}"), 422)


def test_filters_by_tag(client: httpx.Client, board: Board, project: Json) -> None:
    """A whole tag, at any place in the list, whatever its characters mean elsewhere."""
    assert found(client, board, tag="home") == chosen(board, 0, 1), "not a part of a tag, and not the title"
    assert found(client, board, tag="red") == chosen(board, 0, 3, 5), "at any place in the list"
    marks = ["50%", "a\\b", 'x "y"', "Größe", "a,b"]
    tasks = {mark: add_task(client, project, tags=["first", mark]) for mark in marks}
    add_task(client, project, tags=["500", "ab", "a", "b", "x", "y"])
    for mark, task in tasks.items():
        page = listed(client, project_id=project["id"], tag=mark)
        assert ids(page["items"]) == [task["id"]], f"tag={mark!r} finds {[item['tags'] for item in page['items']]}"
        assert page["items"][0]["tags"] == task["tags"], "the list shows a part of the tags only"
    for mark in ('first", "50%', "first,50%", "50_", "%", word()):
        assert listed(client, project_id=project["id"], tag=mark)["items"] == [], f"tag={mark!r} is nobody's tag"
    twice = client.post(f"{project_url(project)}/tasks", json={"title": word(), "tags": ["twice", "twice"]})
    if survived(twice).status_code == 201:
        page = listed(client, project_id=project["id"], tag="twice")
        assert (len(page["items"]), page["total"]) == (1, 1), f"one task, listed for each of its tags: {page}"


def test_lists_tasks_of_all_projects(client: httpx.Client, project: Json) -> None:
    title, owners = word(), (project, add_project(client))
    fields = {"status": "done", "priority": 5, "due_date": "2031-05-17", "tags": ["z", "a"]}
    made = {task["id"]: task for task in (add_task(client, owner, title=f"{title} x", **fields) for owner in owners)}
    page = listed(client, q=title)
    assert set(ids(page["items"])) == made.keys(), page
    for item in page["items"]:
        for key in ("project_id", "title", *fields):
            assert item[key] == made[item["id"]][key], f"{key} differs in the list: {item}"
    assert listed(client)["items"], "no filter, no tasks"


def test_lists_the_newest_first(client: httpx.Client, board: Board, project: Json) -> None:
    """Whatever was changed since."""
    made = [instant(item["created_at"]) for item in ordered(client, board)]
    assert made == sorted(made, reverse=True)
    older, newer = add_task(client, project), add_task(client, project)
    expect(patch(client, task_url(older), {"title": word()}), *DONE)
    if instant(newer["created_at"]) > instant(older["created_at"]):
        found = ids(listed(client, project_id=project["id"])["items"])
        assert found == ids([newer, older]), "sorted by the last change"
