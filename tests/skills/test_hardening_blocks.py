"""What the blocks of fastapi-hardening promise, over real HTTP."""

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DEMO = Path(__file__).parent / "demo"
OWN, FRONT, EVIL = "https://api.example", "https://front.example", "https://evil.example"


@pytest.fixture(scope="module")
def gates(assemble):
    workspace = assemble("outgoing", "csrf")
    shutil.copy(DEMO / "gates.py", workspace.path / "app")
    shutil.copy(DEMO / "outgoing_cases.py", workspace.path / "tests" / "test_outgoing.py")
    workspace.route("gates")
    workspace.replace(
        "app/application.py",
        "    app.add_middleware(CatchAllMiddleware)\n",
        "    app.add_middleware(CatchAllMiddleware)\n"
        f'    app.add_middleware(SameOriginMiddleware, origins=["{OWN}", *settings.cors_origins])\n',
    )
    workspace.replace(
        "app/application.py",
        "from .database import make_engine",
        "from .csrf import SameOriginMiddleware\nfrom .database import make_engine",
    )
    return workspace


@pytest.fixture(scope="module")
def served(gates, fresh_sqlite):
    with gates.serve(DATABASE_URL=fresh_sqlite(), CORS_ORIGINS=FRONT) as service:
        yield service


@pytest.fixture
def caller(served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


# ---------------------------------------------------------------------- outgoing requests


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for hook.example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hook.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_outgoing_requests(gates, certificate: Path) -> None:
    out = gates.check("-W", "error", "-m", "pytest", "-q", "tests/test_outgoing.py", CERTIFICATE=str(certificate))
    found = re.search(r"(\d+) passed", out)
    assert found, out
    assert int(found[1]) >= 120


@pytest.fixture
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and who connected to it."""
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    connection, address = listening.accept()
                except OSError:
                    return
                seen.append(str(address))
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield listening.getsockname()[1], seen
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("path", ["/gates/fetch", "/gates/webhooks"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_inside_is_out_of_reach(
    caller: httpx.Client, served, canary: tuple[int, list[str]], path: str, host: str
) -> None:
    port, seen = canary
    for url in (f"http://{host}:{port}/t0ken", f"https://{host}:{port}/t0ken", f"https://{host}/t0ken"):
        answer = caller.post(path, json={"url": url})
        assert (answer.status_code, answer.json()["code"]) == (422, "unsafe_url")
        assert answer.json()["detail"] == "This URL is not accepted"
    assert seen == []
    assert "t0ken" not in served.log()


LOGGED = """
import asyncio, logging
import httpx, httpx2
from app.logs import setup_logging
async def main():
    for library in (httpx, httpx2):
        transport = library.MockTransport(lambda _: library.Response(200))
        async with library.AsyncClient(transport=transport) as client:
            await client.get("https://hook.example/t0ken?key=t0ken")
setup_logging("INFO")
asyncio.run(main())
logging.getLogger("any").info("said")
"""


def test_urls_that_are_asked_are_not_logged(gates) -> None:
    out = gates.check("-W", "error", "-c", LOGGED)
    assert "said" in out
    assert "t0ken" not in out


# ---------------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Cookie": "a=b"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://unlisted.example", "Cookie": "a=b"},
        {"Sec-Fetch-Site": "cross-site", "Origin": FRONT, "Cookie": "a=b"},
        {"Origin": OWN, "Cookie": "a=b"},
        {"Authorization": "Bearer x"},
    ],
    ids=str,
)
def test_own_pages_and_programs_may_change_things(caller: httpx.Client, headers: dict[str, str]) -> None:
    assert caller.post("/gates/form", data={"a": "b"}, headers=headers).status_code == 204


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": EVIL, "Cookie": "a=b"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.api.example", "Cookie": "a=b"},
        {"Sec-Fetch-Site": "none", "Cookie": "a=b"},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": f"{FRONT}.evil.example"},
        {"Origin": "http://api.example"},
        {"Origin": EVIL, "Host": "evil.example"},
        {"Cookie": "a=b"},
        {"Cookie": "a=b", "Referer": f"{OWN}/page"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_sites_may_not(caller: httpx.Client, method: str, headers: dict[str, str]) -> None:
    refused = caller.request(method, "/gates/form", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_other_sites_may_read_what_cors_lets_them(caller: httpx.Client) -> None:
    assert caller.get("/gates/seen", headers={"Origin": EVIL, "Cookie": "a=b"}).status_code == 200
    asked = {"Origin": FRONT, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"}
    assert caller.options("/gates/form", headers=asked).headers["access-control-allow-origin"] == FRONT


SOCKETS = """
import asyncio, sys
import websockets
async def main():
    for origin in ("https://api.example", "https://front.example", None, "https://evil.example"):
        try:
            async with websockets.connect(f"{sys.argv[1]}/gates/socket", origin=origin):
                print("open")
        except websockets.InvalidStatus as refused:
            print(refused.response.status_code)
asyncio.run(main())
"""


def test_sockets_of_other_sites_are_refused(served, gates) -> None:
    out = gates.check("-c", SOCKETS, served.url.replace("http", "ws"))
    assert out.split() == ["open", "open", "open", "403"]


# ---------------------------------------------------------------------- proxies and limits


FORWARDED = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}


def test_forwarded_address_is_believed_of_trusted_proxies_only(gates, fresh_sqlite, caller: httpx.Client) -> None:
    # uvicorn trusts the own machine unless told otherwise.
    assert caller.get("/gates/seen", headers=FORWARDED).json() == ["192.0.2.7", "https"]
    with (
        gates.serve(DATABASE_URL=fresh_sqlite(), FORWARDED_ALLOW_IPS="192.0.2.1") as service,
        service.client() as client,
    ):
        assert client.get("/gates/seen", headers=FORWARDED).json() == ["127.0.0.1", "http"]


@pytest.mark.parametrize(
    ("trusted", "address"), [("127.0.0.1,10.0.0.0/8", "192.0.2.7"), ("127.0.0.1", "10.0.0.5"), ("*", "203.0.113.9")]
)
def test_forwarded_address_is_the_last_that_no_proxy_has(gates, fresh_sqlite, trusted: str, address: str) -> None:
    """What a client writes in front of it is not believed, unless everybody is."""
    with gates.serve(DATABASE_URL=fresh_sqlite(), FORWARDED_ALLOW_IPS=trusted) as service, service.client() as client:
        forwarded = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7, 10.0.0.5"}
        assert client.get("/gates/seen", headers=forwarded).json()[0] == address


def test_form_parts_are_bounded(caller: httpx.Client) -> None:
    many = caller.post("/gates/form", files={f"f{number}": (None, "x") for number in range(21)})
    large = caller.post("/gates/form", files={"f": (None, "x" * 17_000)})
    two = caller.post("/gates/form", files={"a": ("a.txt", b"x"), "b": ("b.txt", b"x")})
    for refused in (many, large, two):
        assert refused.status_code == 400
        assert refused.headers["content-type"] == "application/problem+json"
    assert caller.post("/gates/form", files={"f": (None, "x" * 16_000)}).status_code == 204


def test_form_that_is_parsed_by_hand_is_not_bounded(caller: httpx.Client) -> None:
    """Only FastAPI's own parsing looks at `form_limits`."""
    many = {f"f{number}": (None, "x") for number in range(21)}
    assert caller.post("/gates/form", files=many).status_code == 400
    assert caller.post("/gates/form-by-hand", files=many).status_code == 204


class Keeper:
    """As much of a Redis server as the limiter asks for; it counts the scripts that take a place in a window."""

    def __init__(self, listening: socket.socket, places: int, answers: bool) -> None:
        self.listening, self.places, self.answers = listening, places, answers
        self.asked: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int(stream.readline()[1:])
                    words.append(stream.read(size + 2)[:-2].decode())
                self.asked.append(" ".join(words))
                if self.answers:
                    connection.sendall(self._answer(words))

    def _answer(self, words: list[str]) -> bytes:
        match words[0].upper():
            case "HELLO":
                return b"%1\r\n+proto\r\n:3\r\n"
            case "EVALSHA" if words[2] == "1" and len(words) > 6:
                self.places -= 1
                return b":1\r\n" if self.places >= 0 else b"_\r\n"
            case "EVALSHA":
                return b"*2\r\n:0\r\n:3\r\n"
            case _:
                return b"+OK\r\n"


@contextmanager
def keeper(places: int = 3, answers: bool = True) -> Iterator[tuple[str, Keeper]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"async+redis://127.0.0.1:{listening.getsockname()[1]}/0", Keeper(listening, places, answers)
        listening.shutdown(socket.SHUT_RDWR)


def test_workers_share_what_the_storage_counts(gates, fresh_sqlite) -> None:
    with keeper() as (storage, shared):
        environment = {"DATABASE_URL": fresh_sqlite(), "RATE_LIMIT_STORAGE": storage}
        with gates.serve(workers=2, **environment) as service:
            statuses = []
            for _ in range(9):
                # A new connection each time, so that either worker may take it.
                with service.client() as client:
                    statuses.append(client.get("/gates/limited").status_code)
        assert statuses == [200] * 3 + [429] * 6
        assert any("gates" in asked and "127.0.0.1" in asked for asked in shared.asked)


CLOSED = """
import asyncio, sys
from limits import parse
from app.rate_limit import close_limiter, make_limiter
async def main():
    limiter = make_limiter(sys.argv[1])
    assert await limiter.hit(parse("3/minute"), "gates", "ann")
    if sys.argv[2] == "close":
        await close_limiter(limiter)
asyncio.run(main())
"""


def test_connections_of_the_storage_are_closed(gates) -> None:
    with keeper() as (storage, _):
        ran = {word: gates.run("-W", "always", "-c", CLOSED, storage, word) for word in ("close", "leave")}
    assert [done.returncode for done in ran.values()] == [0, 0], ran
    assert "ResourceWarning" not in ran["close"].stderr
    assert "ResourceWarning" in ran["leave"].stderr
    gates.check("-W", "error", "-c", CLOSED.replace("assert await", "await"), "async+memory://", "close")


def test_storage_that_hangs_lets_requests_pass(gates, fresh_sqlite) -> None:
    with keeper(answers=False) as (storage, _):
        environment = {"DATABASE_URL": fresh_sqlite(), "RATE_LIMIT_STORAGE": storage}
        with gates.serve(**environment) as service, service.client() as client:
            answer = client.get("/gates/limited")
            assert answer.status_code == 200
            assert answer.elapsed < timedelta(seconds=5)
            assert service.events(event="rate limit storage failed")


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "app"), ("ruff", "format", "--no-cache", "--check", "."), ("mypy", ".")],
    ids=["lint", "format", "types"],
)
def test_blocks_are_clean(gates: Any, command: tuple[str, ...]) -> None:
    gates.check("-m", *command)
