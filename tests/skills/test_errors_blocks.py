"""What the blocks of fastapi-errors promise, on SQLite and on PostgreSQL, over real HTTP."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

DEMO = Path(__file__).parent / "demo"
ORIGIN = "https://front.example"


@pytest.fixture(scope="module")
def rules(assemble):
    workspace = assemble("constraints")
    shutil.copy(DEMO / "rules.py", workspace.path / "app")
    workspace.route("rules")
    workspace.replace(
        "app/application.py",
        "    add_error_handlers(app)\n",
        "    add_error_handlers(app)\n    add_constraint_answers(app, Base.metadata)\n",
    )
    workspace.replace(
        "app/application.py",
        "from .database import make_engine, make_sessionmaker\n",
        "from .constraints import add_constraint_answers\nfrom .database import Base, make_engine, make_sessionmaker\n",
    )
    return workspace


@pytest.fixture(scope="module")
def served(rules, fresh_url):
    with rules.serve(DATABASE_URL=fresh_url(), CORS_ORIGINS=ORIGIN) as service:
        yield service


@pytest.fixture
def caller(served) -> Iterator[httpx.Client]:
    with served.client(headers={"Origin": ORIGIN}) as client:
        yield client


def add(client: httpx.Client, path: str = "", **fields: Any) -> httpx.Response:
    return client.post(f"/rules{path}", json={"name": uuid.uuid4().hex} | fields)


def is_problem(answer: httpx.Response, status: int, code: str) -> str:
    """A problem with the headers of the middleware; its detail."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return str(answer.json()["detail"])


@pytest.mark.parametrize("path", ["", "/at-commit"])
def test_unique_constraint_has_its_own_words(caller: httpx.Client, path: str) -> None:
    name = uuid.uuid4().hex
    assert add(caller, path, name=name).status_code == 201
    assert is_problem(add(caller, path, name=name), 409, "name_taken") == "You have a rule of this name"
    assert add(caller, path, name=name, owner="bob").status_code == 201


def test_check_has_its_own_words(caller: httpx.Client) -> None:
    assert is_problem(add(caller, amount=100), 422, "too_many") == "At most 99"


def test_unique_index_over_an_expression_has_its_own_words(caller: httpx.Client) -> None:
    label = uuid.uuid4().hex
    assert add(caller, label=label).status_code == 201
    is_problem(add(caller, label=label.upper()), 409, "label_taken")


def test_constraints_without_words_are_answered_as_before(caller: httpx.Client) -> None:
    slug = uuid.uuid4().hex
    assert add(caller, slug=slug).status_code == 201
    is_problem(add(caller, slug=slug), 409, "conflict")
    is_problem(add(caller, parent_id=10**6), 409, "conflict")
    is_problem(add(caller, amount=-100), 422, "invalid")


def test_savepoint_asks_which_constraint_it_was(caller: httpx.Client) -> None:
    name, slug = uuid.uuid4().hex, uuid.uuid4().hex
    assert add(caller, "/first-free-name", name=name, slug=slug).json()["name"] == name
    assert add(caller, "/first-free-name", name=name).json()["name"] == f"{name}'"
    is_problem(add(caller, "/first-free-name", slug=slug), 409, "conflict")


def test_answers_tell_no_value_and_no_constraint(caller: httpx.Client, served) -> None:
    secret = f"hunter2{uuid.uuid4().hex}"
    assert add(caller, name=secret, slug=secret, label=secret).status_code == 201
    refused = [
        add(caller, name=secret),
        add(caller, slug=secret),
        add(caller, label=secret),
        add(caller, name=f"{secret}-", amount=-100),
    ]
    assert [answer.status_code for answer in refused] == [409, 409, 409, 422]
    for answer in refused:
        assert not any(word in answer.text for word in (secret, "uq_", "ck_", "rules."))
    assert served.events(event="constraint violated")
    assert secret not in served.log()


@pytest.mark.parametrize("path", ["answer", "model"])
def test_answer_that_does_not_fit_is_not_logged_with_its_values(caller: httpx.Client, served, path: str) -> None:
    answer = caller.get(f"/rules/misfit/{path}")
    is_problem(answer, 500, "internal_error")
    assert served.events(event="request", request_id=answer.headers["x-request-id"], status=500)
    assert "hunter2-of-the-row" not in served.log() + answer.text


def test_log_says_where_an_answer_does_not_fit(caller: httpx.Client, served) -> None:
    answer = caller.get("/rules/misfit/answer")
    (event,) = served.events(event="the answer does not fit its model", request_id=answer.headers["x-request-id"])
    assert event["errors"] == ["response.id: int_parsing"]


def test_error_out_of_a_task_group(caller: httpx.Client) -> None:
    is_problem(caller.get("/rules/group"), 404, "not_found")


def test_error_in_a_stream_cuts_it(caller: httpx.Client, served) -> None:
    with caller.stream("GET", "/rules/stream") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    assert served.events(event="unhandled exception", request_id=answer.headers["x-request-id"])


def test_background_task_that_fails_stops_those_behind_it(caller: httpx.Client, served) -> None:
    first = caller.get("/rules/background")
    assert first.status_code == 200
    assert served.events(event="unhandled exception", request_id=first.headers["x-request-id"])
    # The server has closed the connection, too.
    with served.client() as other:
        assert other.get("/rules/background").json() == []


SOCKETS = """
import asyncio, sys
import websockets
async def main():
    for path in ("before", "after", "before?number=x"):
        try:
            async with websockets.connect(f"{sys.argv[1]}/rules/socket/{path}") as socket:
                await socket.recv()
        except websockets.InvalidStatus as refused:
            print(refused.response.status_code, b"not_found" in refused.response.body)
        except websockets.ConnectionClosedError as closed:
            print(closed.rcvd)
asyncio.run(main())
"""


def test_errors_of_web_sockets(served, rules) -> None:
    out = rules.check("-c", SOCKETS, served.url.replace("http", "ws"))
    assert out.splitlines() == ["404 True", "None", "403 False"]


def test_start_that_fails_ends_the_process(rules) -> None:
    away = "postgresql+asyncpg://nobody@127.0.0.1:1/none"
    done = rules.run("-m", "uvicorn", "app.main:app", "--port", "0", DATABASE_URL=away)
    assert done.returncode == 3, done.stdout + done.stderr


PSYCOPG = """
import asyncio, sys
from sqlalchemy.exc import IntegrityError
from app.constraints import declared_error, violated_constraint
from app.database import Base, make_engine, make_sessionmaker
from app.rules import Rule
from app.settings import Settings
async def main():
    engine = make_engine(Settings.model_validate({}).database_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    for fields in ({"name": "a"}, {"name": "b", "amount": 100}, {"name": "c", "parent_id": 99}):
        async with make_sessionmaker(engine)() as db:
            db.add(Rule(owner="ann", **fields))
            if "parent_id" not in fields:
                db.add(Rule(owner="ann", **fields))
            try:
                await db.commit()
            except IntegrityError as error:
                declared = declared_error(error, Base.metadata)
                print(violated_constraint(error, Base.metadata), declared and declared.code)
    await engine.dispose()
asyncio.run(main())
"""


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_both_drivers_of_postgres_name_the_constraint(rules, fresh_postgres, driver: str) -> None:
    url = fresh_postgres().url.replace("asyncpg", driver)
    assert rules.check("-W", "error", "-c", PSYCOPG, DATABASE_URL=url).splitlines() == [
        "uq_rules_owner_name name_taken",
        "ck_rules_amount_bounded too_many",
        "fk_rules_parent_id_rules None",
    ]


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "."), ("ruff", "format", "--no-cache", "--check", "."), ("mypy", ".")],
    ids=["lint", "format", "types"],
)
def test_blocks_are_clean(rules, command: tuple[str, ...]) -> None:
    rules.check("-m", *command)
