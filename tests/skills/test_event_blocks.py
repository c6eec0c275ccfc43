"""What the blocks for event streams and WebSockets promise, over a real server, on SQLite and on PostgreSQL."""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

DEMO = Path(__file__).parent / "demo"
PYTEST = ("-W", "error", "-m", "pytest", "-q")
ACCOUNTS = (
    "auth_settings",
    "passwords",
    "users",
    "first_account",
    "tokens",
    "sessions",
    "current_user",
    "throttle",
    "auth_routes",
)
BLOCKS = ("events", "event_routes", "shutdown", "sockets", "socket_routes")
KEY = secrets.token_hex(32)
PASSWORD = "correct horse 9"


def wait_for(holds: Callable[[], object], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def live(assemble):
    workspace = assemble(*ACCOUNTS, *BLOCKS)
    shutil.copy(DEMO / "feeds.py", workspace.path / "app")
    for suite in ("feed", "socket"):
        shutil.copy(DEMO / f"{suite}_suite.py", workspace.path / "tests" / f"test_{suite}s.py")
    workspace.route("auth_routes", "event_routes", "feeds", "socket_routes")
    workspace.check("-m", "ruff", "format", "-q", "--no-cache", "app/application.py")
    workspace.replace("app/sockets.py", "HELLO_S = 5", "HELLO_S = 0.5")
    workspace.replace("app/sockets.py", "CHECK_S = 60", "CHECK_S = 0.5")
    application = workspace.path / "app" / "application.py"
    text = application.read_text().replace(
        "        yield\n", "        async with feeds.feeding(app):\n            yield\n"
    )
    text = text.replace("from .settings import Settings\n", "").replace("Settings", "AuthSettings")
    text = text.replace("from .database", "from .auth_settings import AuthSettings\nfrom .database")
    text = text.replace("from .schema", "from .passwords import Passwords\nfrom .schema")
    kept = "    app.state.settings = settings\n"
    application.write_text(text.replace(kept, kept + "    app.state.passwords = Passwords()\n"))
    workspace.env |= {"SECRET_KEY": KEY, "CORS_ORIGINS": "https://front.example"}
    return workspace


@pytest.fixture(scope="module")
def live_service(live, fresh_url):
    with live.serve(DATABASE_URL=fresh_url()) as service:
        yield service


def log_in(client: httpx.Client) -> dict[str, Any]:
    """A new account: its id, address and tokens."""
    email = f"{secrets.token_hex(6)}@example.com"
    account = client.post("/auth/register", json={"email": email, "password": PASSWORD}).json()
    tokens = client.post("/auth/login", data={"username": email, "password": PASSWORD}).json()
    client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return account | tokens


@pytest.fixture
def reader(live_service) -> Iterator[httpx.Client]:
    with live_service.client() as client:
        log_in(client)
        yield client


@contextmanager
def stream(client: httpx.Client, last_id: str | None = None) -> Iterator[Iterator[dict[str, str]]]:
    """The events of an open stream, each with its fields."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with client.stream("GET", "/events", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = parse(answer.iter_lines())
        assert "retry" in next(events)
        yield events


def parse(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        else:
            yield event
            event = {}


def send(client: httpx.Client, first: int, last: int, *, fails: bool = False) -> None:
    answer = client.post("/emit", params={"first": first, "last": last, "fails": fails})
    assert answer.status_code == (409 if fails else 200), answer.text


def numbers(events: Iterator[dict[str, str]], count: int) -> list[int]:
    return [json.loads(next(events)["data"])["number"] for _ in range(count)]


def test_the_feed_keeps_its_promises(live, fresh_url):
    assert "11 passed" in live.check(*PYTEST, "tests/test_feeds.py", TEST_DATABASE_URL=fresh_url())


def test_sockets_keep_their_promises(live, live_service):
    with live_service.client() as client:
        caller = log_in(client)
    env = {"SOCKET_URL": live_service.url.replace("http", "ws") + "/ws", "TOKEN": caller["access_token"]}
    env |= {"USER_ID": caller["id"], "EMAIL": caller["email"]}
    assert "19 passed" in live.check(*PYTEST, "tests/test_sockets.py", **env)
    assert "Traceback" not in live_service.log()


def test_a_caller_sees_only_committed_events_of_its_own(live_service, reader):
    with live_service.client() as other:
        log_in(other)
        with stream(reader) as events:
            send(other, 1, 1)
            send(reader, 2, 2, fails=True)
            send(reader, 3, 4)
            assert numbers(events, 2) == [3, 4]


def test_who_comes_back_gets_what_it_missed(reader):
    with stream(reader) as events:
        send(reader, 1, 1)
        seen = next(events)["id"]
    send(reader, 2, 150)
    with stream(reader, seen) as events:
        assert numbers(events, 149) == list(range(2, 151))


@pytest.mark.parametrize("last_id", ["abc", "-1", str(2**63), "1 or 1=1"])
def test_an_odd_last_event_id_is_refused(reader, last_id):
    assert reader.get("/events", headers={"Last-Event-ID": last_id}).status_code == 422


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer x"}])
def test_without_a_token_there_is_no_stream(live_service, header):
    with live_service.client(headers=header) as client:
        assert client.get("/events").status_code == 401
        assert client.get("/events", params={"token": "x"}).status_code == 401


def test_open_streams_are_bounded_hold_no_connection_and_are_cleared_away(reader):
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(stream(reader))
        assert reader.get("/events").status_code == 429
        wait_for(lambda: reader.get("/held").json() == {"connections": 0, "streams": 10})
    wait_for(lambda: reader.get("/held").json()["streams"] == 0)


def test_a_client_that_stops_reading_is_cleared_away_when_it_is_gone(reader):
    with stream(reader):
        send(reader, 1, 1000)
    wait_for(lambda: reader.get("/held").json()["streams"] == 0)


def test_each_process_sees_the_events_of_all(live, fresh_url):
    with live.serve(workers=2, DATABASE_URL=fresh_url()) as service, service.client() as client:
        log_in(client)
        with ExitStack() as stack:
            # A connection of its own for each, so that both processes have some.
            streams = []
            for _ in range(8):
                other = stack.enter_context(service.client(headers=client.headers))
                streams.append(stack.enter_context(stream(other)))
            send(client, 1, 3)
            assert [numbers(events, 3) for events in streams] == [[1, 2, 3]] * 8


def test_stopping_ends_streams_at_once_and_in_order(live, fresh_url):
    with live.serve(DATABASE_URL=fresh_url()) as service, service.client() as client:
        log_in(client)
        with stream(client) as events:
            before = time.monotonic()
            service.process.terminate()
            service.process.wait(15)
            # Not cut off: httpx raises when a chunked answer has no end.
            assert list(events) == []
        assert time.monotonic() - before < 10
        assert "Application shutdown complete" in service.log()


@pytest.mark.parametrize(
    "tool",
    [("ruff", "check", "--no-cache", "app"), ("mypy", "app")],
    ids=lambda tool: "-".join(tool[:2]),
)
def test_blocks_pass_the_tools(live, tool):
    live.check("-m", *tool)
