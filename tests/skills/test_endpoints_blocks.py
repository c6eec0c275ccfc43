"""What the blocks of fastapi-endpoints promise, on SQLite and on PostgreSQL, over real HTTP."""

import base64
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

DEMO = Path(__file__).parent / "demo"
AT_ONCE = 6


@pytest.fixture(scope="module")
def orders(assemble):
    workspace = assemble("idempotency", "keyset")
    shutil.copy(DEMO / "orders.py", workspace.path / "app")
    workspace.route("orders")
    return workspace


@pytest.fixture(scope="module")
def served(orders, fresh_url):
    with orders.serve(DATABASE_URL=fresh_url()) as service:
        yield service


@pytest.fixture
def caller(served) -> Iterator[httpx.Client]:
    """A user of their own for each test."""
    with served.client(headers={"X-User": uuid.uuid4().hex}) as client:
        yield client


def post(client: httpx.Client, key: str | None, path: str = "/orders", **fields: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json={"item": "pen"} | fields, headers=headers)


def count(client: httpx.Client) -> int:
    answer = client.get("/orders", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    return len(answer.json()["items"])


def new_key() -> str:
    return str(uuid.uuid4())


# ---------------------------------------------------------------------- idempotency keys


def test_sent_again_is_answered_again_and_done_once(caller: httpx.Client) -> None:
    key = new_key()
    first, second = post(caller, key, amount=7), post(caller, key, amount=7)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert count(caller) == 1


def test_other_key_or_none_is_another_order(caller: httpx.Client) -> None:
    answers = [post(caller, new_key()), post(caller, new_key()), post(caller, None), post(caller, None)]
    assert {answer.status_code for answer in answers} == {201}
    assert count(caller) == 4


@pytest.mark.parametrize(
    "again",
    [
        lambda client, key: post(client, key, amount=8),
        lambda client, key: post(client, key, "/orders?x=1", amount=7),
        lambda client, key: post(client, key, "/orders/paid", amount=7),
    ],
    ids=["body", "query", "path"],
)
def test_key_of_another_request_is_refused(
    caller: httpx.Client, again: Callable[[httpx.Client, str], httpx.Response]
) -> None:
    key = new_key()
    assert post(caller, key, amount=7).status_code == 201
    refused = again(caller, key)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert count(caller) == 1


def test_keys_of_two_users_are_two_keys(caller: httpx.Client) -> None:
    key = new_key()
    mine = post(caller, key)
    theirs = caller.post("/orders", json={"item": "pen"}, headers={"Idempotency-Key": key, "X-User": uuid.uuid4().hex})
    assert theirs.status_code == 201
    assert theirs.json()["id"] != mine.json()["id"]
    assert "idempotency-replayed" not in theirs.headers


def test_at_once_is_done_once(served, caller: httpx.Client) -> None:
    key = new_key()

    def send(_: int) -> httpx.Response:
        with served.client(headers=caller.headers) as client:
            return post(client, key, pause_s=0.2)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(AT_ONCE)))
    assert [answer.status_code for answer in answers] == [201] * AT_ONCE
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert count(caller) == 1


def test_what_failed_may_be_tried_again(caller: httpx.Client) -> None:
    key = new_key()
    refused = [post(caller, key, item="refused"), post(caller, key, item="refused")]
    assert [(answer.status_code, answer.json()["detail"]) for answer in refused] == [(409, "on purpose")] * 2
    assert count(caller) == 0
    assert post(caller, key, item="right").status_code == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "a b", "ü".encode("latin-1"), b"\x01"], ids=repr)
def test_odd_keys_are_refused(caller: httpx.Client, key: Any) -> None:
    sent = caller.post("/orders", json={"item": "pen"}, headers={b"Idempotency-Key": key})
    # The server itself refuses control characters in a header.
    assert sent.status_code in (400, 422)
    assert count(caller) == 0


def test_key_can_be_required(caller: httpx.Client) -> None:
    refused = post(caller, None, "/orders/paid")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert post(caller, new_key(), "/orders/paid").status_code == 201


def test_answer_that_no_longer_fits_is_no_second_order(caller: httpx.Client) -> None:
    key = new_key()
    assert post(caller, key, "/orders/later").status_code == 201
    again = caller.post("/orders/later", json={"item": "pen"}, headers={"Idempotency-Key": key, "Released": "true"})
    assert again.status_code == 409
    assert count(caller) == 1


EXPIRE = """
import asyncio
from datetime import timedelta
from sqlalchemy import func, select, update
from app.database import make_engine, make_sessionmaker, utc_now
from app.idempotency import IdempotencyRecord as Record
from app.settings import Settings
async def main():
    engine = make_engine(Settings.model_validate({}).database_url)
    async with make_sessionmaker(engine)() as db, db.begin():
        if %s:
            await db.execute(update(Record).values(expires_at=utc_now() - timedelta(seconds=1)))
        print(await db.scalar(select(func.count()).select_from(Record)))
    await engine.dispose()
asyncio.run(main())
"""


def test_expired_keys_are_free_again_and_are_swept(orders, fresh_url) -> None:
    url = fresh_url()
    with orders.serve(DATABASE_URL=url) as service, service.client(headers={"X-User": "ann"}) as client:
        key = new_key()
        assert post(client, key).status_code == 201
        assert post(client, new_key()).status_code == 201
        assert orders.check("-c", EXPIRE % True, DATABASE_URL=url).strip() == "2"
        again = post(client, key, amount=5)
        assert again.status_code == 201
        assert "idempotency-replayed" not in again.headers
        assert count(client) == 3
        # Its own row stays, the other expired one is gone.
        assert orders.check("-c", EXPIRE % False, DATABASE_URL=url).strip() == "1"
        assert post(client, key, amount=5).headers["idempotency-replayed"] == "true"


def test_waiting_for_the_first_request_has_an_end(orders, fresh_postgres) -> None:
    database = fresh_postgres()
    with orders.serve(DATABASE_URL=database.url) as service, service.client(headers={"X-User": "ann"}) as client:
        with database.connect() as other, other.transaction(force_rollback=True):
            other.execute(
                "insert into idempotency_records (caller, key, request, expires_at) values ('ann', 'slow', '', now())"
            )
            busy = post(client, "slow")
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert post(client, "slow").status_code == 201


def test_commit_that_fails_leaves_no_key(orders, fresh_postgres) -> None:
    database = fresh_postgres()
    with orders.serve(DATABASE_URL=database.url) as service, service.client(headers={"X-User": "ann"}) as client:
        key = new_key()
        with refusing_commits(database):
            assert post(client, key).status_code == 500
        assert post(client, key).status_code == 201
        assert count(client) == 1


@contextmanager
def refusing_commits(database: Any) -> Iterator[None]:
    """Meanwhile each transaction that inserted an order fails at its commit."""
    with database.connect() as admin:
        admin.execute(
            "create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'"
        )
        admin.execute(
            "create constraint trigger refuse after insert on orders deferrable initially deferred "
            "for each row execute function refuse()"
        )
        yield
        admin.execute("drop function refuse cascade")


# ---------------------------------------------------------------------- keyset pages


def pages(client: httpx.Client, **params: Any) -> Iterator[list[dict[str, Any]]]:
    """All pages of a list, at most twenty."""
    cursor: dict[str, str] = {}
    for _ in range(20):
        answer = client.get("/orders", params={**params, **cursor})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        yield body["items"]
        if body["next_cursor"] is None:
            return
        cursor = {"cursor": body["next_cursor"]}
    pytest.fail("the list has no end")


@pytest.mark.parametrize("sort", ["newest", "item", "amount", "price"])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_hold_each_row_once_in_order(caller: httpx.Client, sort: str, limit: int) -> None:
    for number in range(7):
        name = ("b", "a", 'quote"\\ünï', "a")[number % 4]
        assert post(caller, None, item=name, amount=number % 2, price=f"{number % 3}.10").status_code == 201
    found = list(pages(caller, sort=sort, limit=limit))
    assert [len(page) for page in found] == [limit] * (7 // limit) + ([7 % limit] if 7 % limit else [])
    rows = [row for page in found for row in page]
    assert len({row["id"] for row in rows}) == 7
    assert rows == client_order(caller, sort)


def client_order(client: httpx.Client, sort: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/orders", params={"sort": sort, "limit": 100}).json()["items"]
    if sort == "newest":
        moments = [row["created_at"] for row in rows]
        assert moments == sorted(moments, reverse=True)
    if sort == "price":
        assert [row["price"] for row in rows] == sorted((row["price"] for row in rows), reverse=True)
    if sort == "amount":
        assert [row["amount"] for row in rows] == sorted(row["amount"] for row in rows)
    return rows


def test_new_rows_move_no_page(caller: httpx.Client) -> None:
    for _ in range(4):
        post(caller, None)
    walk = pages(caller, limit=2)
    first = next(walk)
    post(caller, None, item="newer")
    second = next(walk)
    assert len({row["id"] for row in first + second}) == 4
    assert "newer" not in {row["item"] for row in second}


def test_empty_list_has_one_page(caller: httpx.Client) -> None:
    assert list(pages(caller)) == [[]]


def test_cursor_of_another_user_shows_nothing_of_theirs(caller: httpx.Client) -> None:
    for _ in range(3):
        post(caller, None)
    cursor = caller.get("/orders", params={"limit": 1}).json()["next_cursor"]
    answer = caller.get("/orders", params={"cursor": cursor}, headers={"X-User": uuid.uuid4().hex})
    assert answer.json() == {"items": [], "next_cursor": None}


def forged(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


MOMENT, ID = "2026-01-01T00:00:00Z", str(uuid.UUID(int=5))


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        ("newest", ""),
        ("newest", "%%%"),
        ("newest", "a"),
        ("newest", "ä"),
        ("newest", "A" * 5000),
        ("newest", base64.urlsafe_b64encode(b"\xff\xfe").decode()),
        ("newest", base64.urlsafe_b64encode(b"[" * 2000).decode()),
        ("newest", forged()),
        ("newest", forged("newest")),
        ("newest", forged("newest", MOMENT)),
        ("newest", forged("newest", MOMENT, ID, 1)),
        ("newest", forged("item", MOMENT, ID)),
        ("newest", forged("newest", "2026-01-01T00:00:00", ID)),
        ("newest", forged("newest", "0001-01-01T00:00:00+05:00", ID)),
        ("newest", forged("newest", 10**400, ID)),
        ("newest", forged("newest", MOMENT, "1 or 1=1")),
        ("newest", forged("newest", None, None)),
        ("item", forged("item", "a\0", ID)),
        ("item", forged("item", "a" * 300, ID)),
        ("item", forged("item", "\ud800", ID)),
        ("item", forged("item", ["a"], ID)),
        ("amount", forged("amount", 2**63, "a", ID)),
        ("amount", forged("amount", "x", "a", ID)),
        ("amount", base64.urlsafe_b64encode(b'["amount", NaN, "a", "%s"]' % ID.encode()).decode()),
    ],
)
def test_cursor_that_is_none_is_refused(caller: httpx.Client, sort: str, cursor: str) -> None:
    answer = caller.get("/orders", params={"sort": sort, "cursor": cursor})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_cursor_with_signs_in_between_is_refused(caller: httpx.Client) -> None:
    for _ in range(2):
        post(caller, None)
    cursor = caller.get("/orders", params={"limit": 1}).json()["next_cursor"]
    for odd in (f"{cursor[:8]}!{cursor[8:]}", f"{cursor[:8]} {cursor[8:]}", f"{cursor}==="):
        assert caller.get("/orders", params={"cursor": odd}).status_code == 422, odd


def test_cursor_beyond_the_column_is_no_failure(caller: httpx.Client) -> None:
    """PostgreSQL refuses a number larger than the column, SQLite finds nothing behind it."""
    answer = caller.get("/orders", params={"sort": "amount", "cursor": forged("amount", 2**40, "a", ID)})
    assert answer.status_code in (200, 422)


def test_limits_are_bounded(caller: httpx.Client) -> None:
    for limit in (0, -1, 101, "x"):
        assert caller.get("/orders", params={"limit": limit}).status_code == 422


WRONG = """
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from app.database import Base
from app.keyset import Keyset
class Thing(Base):
    __tablename__ = "things"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    words: Mapped[str]
    due: Mapped[int | None]
Keyset("x", {columns})
"""


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("(Thing.due, Thing.id)", "things.due: rows without a value would be on no page"),
        ("(Thing.words, Thing.id)", "things.words: only texts of at most 255 characters make a cursor"),
        ("(Thing.name,)", "things.name: the last column must be unique, or rows repeat or get lost"),
    ],
)
def test_wrong_order_is_found_at_import(orders, columns: str, reason: str) -> None:
    done = orders.run("-c", WRONG.replace("{columns}", columns), DATABASE_URL="sqlite+aiosqlite:///:memory:")
    assert done.returncode == 1
    assert f"ValueError: {reason}" in done.stderr


PLAN = """
import asyncio
from sqlalchemy import event, select, text
from app.database import Base, make_engine, make_sessionmaker
from app.keyset import KeysetQuery
from app.orders import ORDERS, Order
from app.settings import Settings
ROWS = '''insert into orders (id, owner, item, amount, price, created_at, updated_at)
    select gen_random_uuid(), 'ann', 'pen', 1, 1, now() - n * interval '1 s', now() from generate_series(1, 5000) n'''
async def main():
    engine = make_engine(Settings.model_validate({}).database_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        for statement in (ROWS, "create index walk on orders (created_at, id)", "analyze orders"):
            await connection.execute(text(statement))
    ran = []
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *told: ran.append(told[2:4]))
    async with make_sessionmaker(engine)() as db:
        _, cursor = await ORDERS["newest"].fetch(db, select(Order), KeysetQuery(limit=50))
        await ORDERS["newest"].fetch(db, select(Order), KeysetQuery(limit=50, cursor=cursor))
        statement, values = ran[-1]
        driver = (await (await db.connection()).get_raw_connection()).driver_connection
        for row in await driver.fetch("explain " + statement, *values):
            print(row[0])
    await engine.dispose()
asyncio.run(main())
"""


def test_page_is_read_along_one_index(orders, fresh_postgres) -> None:
    """The comparison of row values is an index condition: no row of an earlier page is read, and none is sorted."""
    plan = orders.check("-W", "error", "-c", PLAN, DATABASE_URL=fresh_postgres().url)
    assert "Index Scan Backward using walk" in plan
    assert "Index Cond: (ROW(created_at, id) <" in plan
    assert "Sort" not in plan


FACTS = """
import asyncio, uuid
from typing import Annotated, Any
import httpx2
from fastapi import APIRouter, FastAPI, Header, Query
from pydantic import MISSING
from app.fields import In, text
Title = Annotated[str, text(1, 50)]
Marker = Annotated[str, Header()]
router = APIRouter(prefix="/orders")
class Patch(In):
    title: Title | MISSING = MISSING
    note: Title | None | MISSING = MISSING
@router.get("/{order_id}")
async def show(order_id: uuid.UUID) -> None: ...
@router.get("/mine")
async def mine() -> None: ...
@router.patch("/{order_id}")
async def change(order_id: uuid.UUID, body: Patch) -> dict[str, Any]:
    return body.model_dump()
@router.delete("/{order_id}", status_code=204)
async def remove(
    order_id: uuid.UUID, inside: Marker | None = None, x_out: Annotated[str | None, Header()] = None
) -> None: ...
app = FastAPI()
app.include_router(router)
async def main():
    order = f"/orders/{uuid.uuid4()}"
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as client:
        print((await client.get("/orders/mine")).status_code, (await client.get(f"{order}/")).status_code)
        for body in ({}, {"title": None}, {"note": None}, {"title": "x"}):
            answer = await client.patch(order, json=body)
            print(answer.status_code, answer.json() if answer.status_code == 200 else "")
    parameters = app.openapi()["paths"]["/orders/{order_id}"]["delete"]["parameters"]
    print({each["name"]: each["in"] for each in parameters})
asyncio.run(main())
"""


def test_what_the_skill_says_of_fastapi(orders) -> None:
    """Fixed paths come first, a slash redirects, MISSING tells absent from null, a marker in a union is lost."""
    assert orders.check("-W", "error", "-c", FACTS).splitlines() == [
        "422 307",
        "200 {}",
        "422 ",
        "200 {'note': None}",
        "200 {'title': 'x'}",
        "{'order_id': 'path', 'inside': 'query', 'x-out': 'header'}",
    ]


def test_documented_in_openapi(caller: httpx.Client) -> None:
    paths = caller.get("/openapi.json").json()["paths"]
    headers = {name["name"]: name["required"] for name in paths["/orders/paid"]["post"]["parameters"]}
    assert headers["Idempotency-Key"] is True
    assert {"limit", "cursor", "sort"} <= {name["name"] for name in paths["/orders"]["get"]["parameters"]}


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "."), ("ruff", "format", "--no-cache", "--check", "."), ("mypy", ".")],
    ids=["lint", "format", "types"],
)
def test_blocks_are_clean(orders, command: tuple[str, ...]) -> None:
    orders.check("-m", *command)
