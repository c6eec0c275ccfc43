"""What the blocks of fastapi-project promise, over real HTTP."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

ORIGIN = "https://front.example"
SECRET = "hunter2-hunter2"


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """A complete problem document with everything that the middleware owes it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["code"]
    return body


def test_probes_answer(client):
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_router_errors_are_problems(client):
    assert is_problem(client.get("/nowhere"), 404)["code"] == "not_found"
    answer = client.delete("/livez")
    is_problem(answer, 405)
    assert "GET" in answer.headers["allow"]


def test_app_error_is_a_problem(client):
    assert is_problem(client.get("/notes/999999"), 404)["detail"] == "Not found"


@pytest.mark.parametrize(
    "body",
    [
        {"title": "x", "password": "hunter2"},
        {"title": 5, "password": SECRET},
        {"title": "x" * 60, "password": SECRET},
        {"title": "x", "email": "hunter2@", "password": SECRET},
        {"title": "x", "role": "hunter2"},
        ["hunter2"],
        "hunter2",
        None,
    ],
    ids=str,
)
def test_invalid_input_is_not_repeated(client, body):
    answer = client.post("/notes", json=body)
    errors = is_problem(answer, 422)["errors"]
    assert errors
    assert all(set(error) == {"loc", "type", "msg"} for error in errors)
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"title": "x", "stars": NaN}',
        rb'{"title": "x", "stars": 1e400}',
        rb'{"title": "\ud800"}',
        rb'{"title": "x", "body": "\udfff"}',
        rb'{"\ud800": 1, "title": "x"}',
        rb'{"title": "a\u0000b"}',
        rb'{"title": "a\nb"}',
        rb'{"title": "x", "due": "0001-01-01T00:00:00+05:00"}',
        rb'{"title": "x", "due": "2026-01-01T00:00:00"}',
        b'{"title": "\xff"}',
        b"[" * 50_00,
        b"not json",
    ],
    ids=str,
)
def test_odd_input_is_refused(client, raw):
    answer = client.post("/notes", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    is_problem(answer, answer.status_code)


def test_breaks_only_where_text_has_lines(client):
    name = uuid.uuid4().hex
    assert client.post("/notes", json={"title": f"  {name}\t", "body": "a\n\tb"}).json()["title"] == name
    is_problem(client.post("/notes", json={"title": "a\tb"}), 422)


def test_unhandled_exception_keeps_headers_and_says_nothing(client, service):
    answer = client.get("/notes/fails/word-of-the-client")
    body = is_problem(answer, 500)
    assert "secret-of-the-server" not in answer.text
    assert service.events(event="request", request_id=body["request_id"], status=500)
    (event,) = service.events(event="unhandled exception", request_id=body["request_id"])
    assert "secret-of-the-server" in event["exception"]


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("send", [lambda size: b"x" * size, chunks], ids=["declared", "chunked"])
def test_body_limit_is_a_problem_and_a_route_may_raise_it(client, send):
    is_problem(client.post("/notes/small", content=send(12_000)), 413)
    assert client.post("/notes/small", content=send(9_000)).json() == 9_000
    assert client.post("/notes/bytes", content=send(12_000)).json() == 12_000
    is_problem(client.post("/notes/bytes", content=send(22_000)), 413)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example", "http://front.example"])
def test_other_origins_get_no_cors_headers(service, origin):
    with service.client(headers={"Origin": origin}) as client:
        answers = [
            client.get("/livez"),
            client.options("/notes", headers={"Access-Control-Request-Method": "POST"}),
        ]
    assert all("access-control-allow-origin" not in answer.headers for answer in answers)


def test_preflight_of_a_listed_origin(client):
    wanted = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
    answer = client.options("/notes/1", headers=wanted)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in answer.headers


def test_request_id_is_taken_only_when_it_is_one(client):
    given = str(uuid.uuid4())
    assert client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    forged = '<script>"x' * 50
    made = client.get("/livez", headers={"X-Request-ID": forged}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{32,36}", made)


def test_every_line_of_the_log_is_json_and_holds_no_secret(client, service):
    forged = '\n{"level": "critical", "event": "forged"}'
    request_id = client.get("/notes/logs/t0p-secret", params={"q": forged}).headers["x-request-id"]
    assert service.events(event="request", request_id=request_id, path="/notes/logs/{token}", level="info")
    assert service.events(event="searching", request_id=request_id, q=forged)
    assert service.events(logger="uvicorn.error", event="Application startup complete.")
    assert all(line.startswith("{") for line in service.log().splitlines())
    loggers = {event["logger"] for event in service.events()}
    assert "uvicorn.access" not in loggers
    assert "t0p-secret" not in service.log()


def test_docs_load_and_document_problems(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "cdn.jsdelivr.net" in page.headers["content-security-policy"]
    schema = client.get("/openapi.json").json()
    responses = schema["paths"]["/notes"]["post"]["responses"]
    assert set(responses) == {"201", "404", "422", "default"}
    assert set(responses["422"]["content"]) == {"application/problem+json"}
    assert "HTTPValidationError" not in json.dumps(schema)


def test_page_bounds(client):
    for query in ({"limit": 0}, {"limit": 101}, {"limit": -1}, {"offset": -1}, {"offset": 2**63}, {"limit": "x"}):
        is_problem(client.get("/notes", params=query), 422)
    page = client.get("/notes", params={"limit": 1, "starred": True, "utm_source": "x"})
    assert set(page.json()) == {"items", "total"}


def test_pages_follow_each_other(client):
    titles = sorted(f"page-{uuid.uuid4().hex}" for _ in range(5))
    for title in titles:
        assert client.post("/notes", json={"title": title, "stars": 1}).status_code == 201
    first = client.get("/notes", params={"limit": 100}).json()
    second = client.get("/notes", params={"limit": 2, "offset": 1}).json()
    assert [note["title"] for note in second["items"]] == [note["title"] for note in first["items"][1:3]]
    assert second["total"] >= len(titles)


def test_rate_limit_counts_each_client_also_on_included_routers(service):
    for address in ("127.1.1.1", "127.1.1.2"):
        with service.client(headers={"Origin": ORIGIN}, transport=httpx.HTTPTransport(local_address=address)) as client:
            answers = [client.get("/notes/limited/few", headers={"X-Real-IP": f"10.0.0.{n}"}) for n in range(4)]
        assert [answer.status_code for answer in answers[:3]] == [200, 200, 200]
        is_problem(answers[3], 429)
        assert 1 <= int(answers[3].headers["retry-after"]) <= 60


def test_rate_limit_stays_open_without_its_server(client, service):
    storage = {"storage": "async+redis://127.0.0.1:1/0"}
    assert [client.get("/notes/limited/few", params=storage).status_code for _ in range(5)] == [200] * 5
    assert service.events(event="rate limit storage failed")


NETWORKS = """
from types import SimpleNamespace as Fake
from app.rate_limit import client_network
for host in ("192.0.2.7", "2001:db8::1:2:3:4", "::ffff:192.0.2.7", "unix"):
    print(client_network(Fake(client=Fake(host=host))))
print(client_network(Fake(client=None)))
"""


def test_one_client_has_a_whole_network_of_ipv6(notes):
    seen = notes.check("-c", NETWORKS).split()
    assert seen == ["192.0.2.7", "2001:db8::/64", "192.0.2.7", "unix", "unknown"]


SETTINGS = """
import os, sys
from app.settings import Settings
print(Settings.model_validate({}))
"""


def test_settings_come_from_the_environment(notes):
    out = notes.check(
        "-c", SETTINGS, DATABASE_URL="postgresql+asyncpg://u:hunter2@h/d",
        CORS_ORIGINS="https://a.example, https://b.example", ALLOWED_HOSTS='["a.example"]',
    )  # fmt: skip
    assert "cors_origins=['https://a.example', 'https://b.example'] allowed_hosts=['a.example']" in out
    assert "hunter2" not in out


SECRETS = """
from app.settings import SecretKey, Settings
class Own(Settings):
    secret_key: SecretKey
print(Own.model_validate({}))
"""


def test_secrets_are_required_long_and_never_shown(notes):
    url = "sqlite+aiosqlite:///:memory:"
    missing = notes.run("-c", SECRETS, DATABASE_URL=url)
    short = notes.run("-c", SECRETS, DATABASE_URL=url, SECRET_KEY="hunter2")
    right = notes.run("-c", SECRETS, DATABASE_URL=url, SECRET_KEY="hunter2" * 5)
    assert [missing.returncode, short.returncode, right.returncode] == [1, 1, 0]
    assert "secret_key" in missing.stderr
    assert "hunter2" not in short.stderr + right.stdout


IN_PROCESS = """
import asyncio, httpx2
from app.main import app
async def main():
    async with app.router.lifespan_context(app):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://a.example") as client:
            for path in ("/docs", "/redoc", "/openapi.json", "/livez"):
                print((await client.get(path)).status_code)
            print((await client.get("/livez", headers={"Host": "evil.example"})).status_code)
asyncio.run(main())
"""


def test_docs_can_be_off_and_hosts_listed(notes):
    out = notes.check(
        "-W", "error", "-c", IN_PROCESS,
        DATABASE_URL="sqlite+aiosqlite:///:memory:", DOCS_ENABLED="false", ALLOWED_HOSTS="a.example", LOG_LEVEL="ERROR",
    )  # fmt: skip
    assert out.split() == ["404", "404", "404", "200", "400"]


def test_import_connects_nothing_and_leaves_alembic_out(notes):
    program = "import app.main, sys; print('alembic' in sys.modules)"
    out = notes.check("-W", "error", "-c", program, DATABASE_URL="postgresql+asyncpg://nobody@192.0.2.1/none")
    assert out.strip() == "False"


def test_own_tests_pass(assemble):
    out = assemble().check("-W", "error", "-m", "pytest", "-q")
    assert "2 passed" in out


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "."), ("ruff", "format", "--no-cache", "--check", "."), ("mypy", ".")],
    ids=["lint", "format", "types"],
)
def test_blocks_are_clean(notes: Any, command: tuple[str, ...]) -> None:
    notes.check("-m", *command)


@pytest.fixture
def cut_off(notes, fresh_postgres, tmp_path) -> Iterator[tuple[Any, Callable[[], None]]]:
    """A service on PostgreSQL and what takes the database away."""
    database = fresh_postgres()
    link = tmp_path / "socket"
    link.symlink_to(database.folder)
    with notes.serve(DATABASE_URL=database.url.replace(str(database.folder), str(link))) as service:

        def cut() -> None:
            link.unlink()
            with database.connect() as admin:
                admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = %s and pid <> pg_backend_pid()",
                    (database.name,),
                )

        yield service, cut


def test_without_database_it_is_alive_but_not_ready(cut_off):
    service, cut = cut_off
    with service.client(headers={"Origin": ORIGIN}) as client:
        assert client.get("/readyz").status_code == 200
        cut()
        assert client.get("/livez").status_code == 200
        ready, work = client.get("/readyz"), client.get("/notes")
    for answer in (ready, work):
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert not re.search("socket|OSError|No such file|asyncpg|sqlalchemy", answer.text)
