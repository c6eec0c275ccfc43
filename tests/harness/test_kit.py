import pytest
import rig

MANNERS = """
import os, time

import httpx
import pytest


def test_clients_are_like_browsers_from_addresses_of_their_own(client, connect):
    seen = [one.get("/who").json() for one in (client, connect(), connect(address="127.9.9.9"))]
    assert len({who["address"] for who in seen}) == 3
    assert seen[2]["address"] == "127.9.9.9" == connect(address="127.9.9.9").address
    assert all(who["address"].startswith("127.") for who in seen)
    assert all(who["agent"].startswith("Mozilla/") for who in seen)
    assert connect(headers={"user-agent": "me"}).get("/who").json()["agent"] == "me"
    assert connect(timeout=1).timeout.read == 1 != client.timeout.read


def test_the_service_is_known(service, client):
    assert str(client.base_url).startswith(service.url)
    assert service.env["GIVEN"] == "1"
    assert (service.workspace / "app" / "main.py").is_file()
    assert client.get("/write").text == "written"
    assert (service.data / "file").read_text() == "x"
    assert "Uvicorn running" in service.log()


def test_exchanges_are_noted(client, exchanges, service):
    before = len(exchanges)
    client.post("/", content=iter([b"a", b"b"]))
    client.post("/", json=1)
    with client.stream("GET", "/") as answer:
        answer.read()
    first, second = exchanges[before:]
    assert (first.request_body, second.request_body, second.body) == (b"(streamed)", b"1", b"hello")
    assert (second.method, second.status, second.url) == ("POST", 200, f"{service.url}/")
    assert second.headers


def test_calls_are_made_together(together, connect):
    clients = [connect() for _ in range(4)]
    begun = time.monotonic()
    answers = together([lambda one=one: one.get("/slow").text for one in clients])
    assert answers == ["hello"] * 4
    assert time.monotonic() - begun < 1.0
    with pytest.raises(ZeroDivisionError):
        together([lambda: 1 / 0, lambda: 1])


def test_an_answer_without_end_is_cut(client):
    with pytest.raises(httpx.ReadError, match="larger than 64 MiB"):
        client.get("/endless")
    with pytest.raises(httpx.ReadError, match="larger than 64 MiB"):
        client.get("/bomb")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/broken")


def test_a_compressed_answer_is_read(client):
    answer = client.get("/gzip")
    assert (answer.text, answer.json(), answer.is_closed) == ("[1]", [1], True)
    assert client.get("/redirect", follow_redirects=True).text == "hello"


def test_another_service_has_another_port_and_environment(service, connect):
    with service.another(env={"GIVEN": "2"}, database="fresh") as other:
        assert other.url != service.url
        assert connect(base_url=other.url).get("/given").text == "2"
        assert other.env["DATABASE_URL"] != service.env["DATABASE_URL"]
        assert other.data != service.data
    with pytest.raises(httpx.TransportError):
        connect(base_url=other.url).get("/")


def test_another_service_that_does_not_start_says_why(service):
    with pytest.raises(AssertionError, match="a second service did not start: the service ended with exit code 9"):
        with service.another(env={"GIVEN": "end"}):
            pass


def test_without_postgresql_there_is_no_sql(request):
    with pytest.raises(AssertionError, match="this grading has no PostgreSQL"):
        request.getfixturevalue("sql")("select 1")
"""
POLITE = """
import asyncio, gzip, json, os

if os.environ["GIVEN"] == "end":
    os._exit(9)
ZEROS = gzip.compress(bytes(80 << 20), 1)


async def once(send, body, headers):
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def endless(send, chunk, headers):
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        for _ in range(200):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        await send({"type": "http.response.body", "body": b""})
"""
ANSWERS = """
headers = {key.decode(): value.decode() for key, value in scope["headers"]}
if path == "/who":
    body = json.dumps({"address": scope["client"][0], "agent": headers["user-agent"]}).encode()
if path == "/write":
    with open(os.environ["FOLDER"] + "/file", "w") as file:
        file.write("x")
    body = b"written"
if path == "/slow":
    await asyncio.sleep(0.3)
if path == "/given":
    body = os.environ["GIVEN"].encode()
if path == "/endless":
    return await endless(send, bytes(1 << 20), [])
if path == "/bomb":
    return await once(send, ZEROS, [(b"content-encoding", b"gzip")])
if path == "/broken":
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    raise RuntimeError("on purpose")
if path == "/redirect":
    await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/")]})
    return await send({"type": "http.response.body", "body": b""})
if path == "/gzip":
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-encoding", b"gzip")]})
    return await send({"type": "http.response.body", "body": gzip.compress(b"[1]")})
"""


@pytest.mark.parametrize("confined", [True, False])
def test_the_fixtures_keep_what_they_promise(judge, confined):
    environment = {"GIVEN": "1", "FOLDER": "{data}"}
    found = judge(rig.app(POLITE, ANSWERS), MANNERS, confined=confined, environment=environment)
    assert {name for name, said in rig.outcomes(found).items() if said != "passed"} == set(), rig.messages(found)


DATABASE = """
import pytest


def test_the_database_is_seen_from_behind(sql, client):
    assert sql("select %s::int + 1", 1) == [(2,)]
    assert sql("create table seen (id int)") == []
    client.get("/insert")
    assert sql("select count(*) from notes") == [(1,)]


def test_statements_are_counted_without_bookkeeping(statements, client):
    client.get("/none")
    before = statements()
    client.get("/none")
    assert statements() == before
    client.get("/three")
    assert statements() == before + 3


def test_commits_can_be_slow(slow_commits, client):
    with slow_commits(0.4):
        assert float(client.get("/insert").text) >= 0.4
    assert float(client.get("/insert").text) < 0.4


def test_commits_can_be_refused(refused_commits, client, sql):
    before = sql("select count(*) from notes")
    with refused_commits():
        assert client.get("/insert").text == "SerializationFailure"
        assert client.get("/none").text == "hello"
    assert sql("select count(*) from notes") == before
    assert client.get("/insert").text != "SerializationFailure"


def test_another_service_shares_the_database_or_not(service, connect, sql, client):
    client.get("/insert")
    with service.another(workers=2) as same:
        assert connect(base_url=same.url).get("/count").text == str(sql("select count(*) from notes")[0][0])
    with service.another(database="fresh") as fresh:
        assert connect(base_url=fresh.url).get("/count").text == "0"
"""
STORES = """
import os, time
import psycopg
URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")

def ran(*statements):
    begun = time.monotonic()
    try:
        with psycopg.connect(URL) as connection:
            for statement in statements:
                last = connection.execute(statement)
            return str(last.fetchone()[0]) if last.description else str(time.monotonic() - begun)
    except psycopg.Error as error:
        return type(error).__name__
    finally:
        ended.append(time.monotonic() - begun)

def timed(*statements):
    said = ran(*statements)
    return said if said[0].isalpha() else str(ended[-1])

ended = []
ran("select pg_advisory_lock(1)", "create table if not exists notes (id int)")
"""
STORED = """
if path == "/insert":
    body = timed("insert into notes values (1)").encode()
if path == "/count":
    body = ran("select count(*) from notes").encode()
if path == "/three":
    ran("select 1 + 1", "select 2 * 3", "set local work_mem = '1MB'", "select 4 - 2")
if path == "/none":
    ran("select 1 from pg_catalog.pg_class limit 1")
"""


@pytest.mark.parametrize("confined", [True, False])
def test_the_database_can_be_watched_and_trapped(judge, confined):
    found = judge(rig.app(STORES, STORED), DATABASE, confined=confined, services=("postgres",))
    assert {name for name, said in rig.outcomes(found).items() if said != "passed"} == set(), rig.messages(found)
