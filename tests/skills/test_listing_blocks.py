"""What the blocks for lists and versions promise, on SQLite and on PostgreSQL."""

import re
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

DEMO = Path(__file__).parent / "demo"
CONTENDERS = 5
# For a card of version 1.
UNMET = ['"0"', "1", 'W/"1"', '"1', "", ",,", '"' + "9" * 5000 + '"', '"11", "01"', "garbage"]


@pytest.fixture(scope="module")
def cards(assemble):
    workspace = assemble("listing")
    shutil.copy(DEMO / "cards.py", workspace.path / "app")
    workspace.route("cards")
    return workspace


@pytest.fixture(scope="module")
def served(cards, fresh_url):
    with cards.serve(DATABASE_URL=fresh_url()) as service:
        yield service


@pytest.fixture
def caller(served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def add(client: httpx.Client, title: str, due: str | None = None) -> str:
    """The path of a new card."""
    answer = client.post("/cards", json={"title": title, "due": due})
    assert answer.status_code == 201, answer.text
    return f"/cards/{answer.json()['id']}"


def find(client: httpx.Client, q: str, **params: Any) -> list[str]:
    """The titles that a search finds, in their order."""
    answer = client.get("/cards", params={"q": q, **params})
    assert answer.status_code == 200, answer.text
    return [card["title"] for card in answer.json()["items"]]


def word() -> str:
    return f"w{secrets.token_hex(6)}"


def test_searches_in_any_letter_case(caller: httpx.Client) -> None:
    mark = word()
    add(caller, f"Buy MILK {mark} Today")
    for q in (f"milk {mark}", f"MILK {mark}".upper(), f"{mark} tODAY"):
        assert find(caller, q) == [f"Buy MILK {mark} Today"], q
    assert find(caller, f"honey {mark}") == []


@pytest.mark.parametrize("sign", ["%", "_", "/", "\\", "'", '"'])
def test_searches_literally(caller: httpx.Client, sign: str) -> None:
    mark = word()
    add(caller, f"{mark}{sign}x")
    add(caller, f"{mark}-x")
    assert find(caller, f"{mark}{sign}x") == [f"{mark}{sign}x"]


def test_sorts_in_both_directions_and_empty_last(caller: httpx.Client) -> None:
    mark = word()
    for name, due in (("b", "2031-02-02"), ("none", None), ("a", "2031-01-01"), ("c", "2031-03-03")):
        add(caller, f"{mark} {name}", due)
    assert find(caller, mark, sort="due") == [f"{mark} {name}" for name in ("a", "b", "c", "none")]
    assert find(caller, mark, sort="-due") == [f"{mark} {name}" for name in ("c", "b", "a", "none")]
    assert find(caller, mark, sort="-title")[0] == f"{mark} none"


@pytest.mark.parametrize("sort", ["due", "-due"])
def test_equal_rows_are_on_one_page_each(caller: httpx.Client, sort: str) -> None:
    mark = word()
    titles = {f"{mark} {number}" for number in range(12)}
    for title in titles:
        add(caller, title)
    pages = [find(caller, mark, sort=sort, limit=5, offset=offset) for offset in (0, 5, 10)]
    assert [len(page) for page in pages] == [5, 5, 2]
    assert {title for page in pages for title in page} == titles


def test_order_is_never_sql(caller: httpx.Client) -> None:
    for sort in ("(select 1/0)", "due; select 1", "--due", "version"):
        assert caller.get("/cards", params={"sort": sort}).status_code == 422


def put(client: httpx.Client, path: str, if_match: str | None) -> httpx.Response:
    headers = {} if if_match is None else {"If-Match": if_match}
    return client.put(path, json={"title": word()}, headers=headers)


def test_etag_is_quoted_and_changes_with_the_row(caller: httpx.Client) -> None:
    path = add(caller, word())
    first = caller.get(path).headers["etag"]
    assert re.fullmatch(r'"[^"]+"', first)
    assert caller.get(path).headers["etag"] == first
    changed = put(caller, path, first)
    assert changed.status_code == 200
    assert changed.headers["etag"] == caller.get(path).headers["etag"] != first


@pytest.mark.parametrize("form", [None, "*", "{tag}", '"other", {tag}', '{tag},"other"', 'W/"other", {tag}'])
def test_if_match_that_holds(caller: httpx.Client, form: str | None) -> None:
    path = add(caller, word())
    tag = caller.get(path).headers["etag"]
    assert put(caller, path, form and form.format(tag=tag)).status_code == 200


@pytest.mark.parametrize(
    "header", ['"0"', "1", 'W/"1"', '"1', "", ",,", '"' + "9" * 5000 + '"', '"11", "01"', "garbage"]
)
def test_if_match_that_does_not_hold(caller: httpx.Client, header: str) -> None:
    path = add(caller, word())
    refused = put(caller, path, header)
    assert refused.status_code == 412, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert caller.get(path).headers["etag"] == '"1"'


def test_old_version_is_refused(caller: httpx.Client) -> None:
    path = add(caller, word())
    old = caller.get(path).headers["etag"]
    assert put(caller, path, old).status_code == 200
    assert put(caller, path, old).status_code == 412


def test_one_of_several_changes_of_a_version_wins(served, caller: httpx.Client) -> None:
    path = add(caller, word())
    tag = caller.get(path).headers["etag"]

    def change(_: int) -> int:
        with served.client() as client:
            return put(client, path, tag).status_code

    with ThreadPoolExecutor(CONTENDERS) as pool:
        statuses = sorted(pool.map(change, range(CONTENDERS)))
    assert statuses[0] == 200
    # SQLite has no row locks: there the version column finds the later ones, as a conflict.
    assert set(statuses[1:]) <= {409, 412}


def test_documented_in_openapi(caller: httpx.Client) -> None:
    operation = caller.get("/openapi.json").json()["paths"]["/cards/{card_id}"]["put"]
    assert [p["name"] for p in operation["parameters"] if p["in"] == "header"] == ["if-match"]
    assert "412" in operation["responses"]


def test_blocks_pass_mypy_and_ruff(cards) -> None:
    cards.check("-m", "mypy", "--strict", "app")
    cards.check("-m", "ruff", "check", "app")
