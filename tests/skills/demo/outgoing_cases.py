"""Cases for the guard of outgoing requests, run inside a workspace as tests/test_outgoing.py.

Servers listen on loopback, which the policy of these tests opens; names are resolved by a table.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.outgoing import FetchFailed, Outgoing, Policy, UnsafeUrl, is_public

pytestmark = pytest.mark.anyio

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter, list[str]], Awaitable[None]]
OPEN = (ipaddress.ip_network("127.0.0.0/8"),)


class Server:
    """Answers GET by path and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.names: list[str | None] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Kept open, so that a client could ask for the next name on it.
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                self.asked.append(head)
                await reader.readexactly(int(self.headers(-1).get("content-length", 0)))
                await self.answer(head[0].split()[1], writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        if path.startswith("/to/"):
            return self.send(writer, b"", f"Location: {path[4:]}", "302 Found")
        if path == "/drip":
            self.send(writer, b"", "Content-Length: 1000")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        if path == "/endless":
            self.send(writer, b"", "X-Endless: yes")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        if path == "/packed":
            return self.send(writer, b"\x1f\x8b\x08", "Content-Encoding: gzip")
        if path == "/cookie":
            return self.send(writer, b"ok", "Set-Cookie: track=me; Path=/")
        if path.startswith("/size/"):
            return self.send(writer, b"x" * int(path[6:]), "X-Size: yes")
        return self.send(writer, b"hello", "X-Plain: yes")

    def send(self, writer: asyncio.StreamWriter, body: bytes, header: str, status: str = "200 OK") -> None:
        length = "" if header.startswith("X-Endless") or "Length" in header else f"Content-Length: {len(body)}\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{length}{header}\r\n\r\n".encode() + body)

    def headers(self, number: int) -> dict[str, str]:
        pairs = (line.split(": ", 1) for line in self.asked[number][1:] if line)
        return {name.lower(): value for name, value in pairs}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()


@pytest.fixture
async def tls_server() -> AsyncIterator[Server]:
    """With a certificate for hook.example."""
    made = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["CERTIFICATE"])
    context.sni_callback = lambda _, name, __: made.names.append(name)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Name to its answers, one for each look-up; the last one stays."""
    table: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *arguments: Any, **keywords: Any) -> Any:
        if host not in table:
            return real(host, port, *arguments, **keywords)
        answers = table[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [found for address in addresses for found in real(address, port, *arguments, **keywords)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


def policy(*ports: int, also_refused: tuple[Any, ...] = ()) -> Policy:
    return Policy(frozenset({"http", "https"}), frozenset(ports), OPEN, also_refused)


@pytest.fixture
async def outgoing(server: Server) -> AsyncIterator[Outgoing]:
    made = Outgoing(policy(server.port))
    yield made
    await made.aclose()


@pytest.fixture
async def strict() -> AsyncIterator[Outgoing]:
    made = Outgoing()
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1",
        "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
        "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1",
        "2001:0:7f00:1::", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
        "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255",
        "172.32.0.0",
        "192.167.0.1", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808", "2001:4860:4860::8888",
        "2606:4700::1111", "2a00:1450::1",
    ],
)  # fmt: skip
def test_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


ODD = [
    "", "/", "//example.com", "https://", "https:///path", "example.com", "ftp://1.1.1.1", "file:///etc/passwd",
    "gopher://1.1.1.1", "javascript:1", "https://ex ample.com", "https://example.com\r\nHost: x", "https://1.1.1.1:99999",
    "https://1.1.1.1:-1", "https://[::1", "https://\ud800", "https://a..b", "https://" + "a" * 70 + ".example",
    "http://1.1.1.1", "http://1.1.1.1:443", "https://1.1.1.1:8443", "https://user@1.1.1.1", "https://user:pass@1.1.1.1",
    "https://no-such-name.invalid",
]  # fmt: skip
INSIDE = [
    "localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
    "0", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fe80::1]",
    "\uff11\uff12\uff17.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "169.254.169.254", "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]", "10.0.0.1", "[2002:7f00:1::]",
]  # fmt: skip


@pytest.mark.parametrize("url", [*ODD, *(f"https://{host}/x" for host in INSIDE)])
async def test_urls_that_are_refused(strict: Outgoing, url: str) -> None:
    with pytest.raises(UnsafeUrl) as fetched:
        await strict.fetch("GET", url)
    with pytest.raises(UnsafeUrl) as checked:
        await strict.check(url)
    assert fetched.value.detail == checked.value.detail == "This URL is not accepted"


async def test_one_inner_address_refuses_all(strict: Outgoing, names: dict[str, list[list[str]]]) -> None:
    names["mixed.example"] = [["1.1.1.1", "10.0.0.1"]]
    with pytest.raises(UnsafeUrl):
        await strict.check("https://mixed.example")
    names["public.example"] = [["1.1.1.1", "2606:4700::1111"]]
    await strict.check("https://public.example")


async def test_networks_can_be_closed(names: dict[str, list[list[str]]]) -> None:
    own = Outgoing(Policy(also_refused=(ipaddress.ip_network("1.1.1.0/24"),)))
    names["own.example"] = [["1.1.1.1"]]
    with pytest.raises(UnsafeUrl):
        await own.check("https://own.example")
    with pytest.raises(UnsafeUrl):
        await own.check("https://[::ffff:1.1.1.1]")
    await own.aclose()


async def test_what_was_checked_is_what_is_asked(
    server: Server, outgoing: Outgoing, names: dict[str, list[list[str]]]
) -> None:
    """The second look-up would give an inner address."""
    names["rebind.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    answer = await outgoing.fetch("GET", f"http://rebind.example:{server.port}/a?b=c")
    assert (answer.status, answer.content, answer.headers["x-plain"]) == (200, b"hello", "yes")
    assert server.asked[0][0] == "GET /a?b=c HTTP/1.1"
    assert server.headers(0)["host"] == f"rebind.example:{server.port}"
    assert names["rebind.example"] == [["10.0.0.1"]]
    with pytest.raises(UnsafeUrl):
        await outgoing.fetch("GET", f"http://rebind.example:{server.port}/")


async def test_tls_checks_the_name_of_the_url(tls_server: Server, names: dict[str, list[list[str]]]) -> None:
    trusted = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
    outgoing = Outgoing(policy(tls_server.port), verify=trusted)
    names["hook.example"] = names["other.example"] = [["127.0.0.1"]]
    answer = await outgoing.fetch("POST", f"https://hook.example:{tls_server.port}/", content=b"x")
    assert answer.status == 200
    assert tls_server.headers(0)["host"] == f"hook.example:{tls_server.port}"
    # A connection that was kept would serve the other name without a look at its certificate.
    with pytest.raises(FetchFailed):
        await outgoing.fetch("GET", f"https://other.example:{tls_server.port}/")
    assert tls_server.names == ["hook.example", "other.example"]
    assert len(tls_server.asked) == 1
    await outgoing.aclose()


async def test_certificate_that_nobody_knows(tls_server: Server, names: dict[str, list[list[str]]]) -> None:
    outgoing = Outgoing(policy(tls_server.port))
    names["hook.example"] = [["127.0.0.1"]]
    with pytest.raises(FetchFailed):
        await outgoing.fetch("GET", f"https://hook.example:{tls_server.port}/")
    await outgoing.aclose()


async def test_next_address_is_tried(server: Server, outgoing: Outgoing, names: dict[str, list[list[str]]]) -> None:
    names["two.example"] = [["127.0.0.9", "127.0.0.1"]]
    assert (await outgoing.fetch("GET", f"http://two.example:{server.port}/")).status == 200


async def test_redirects_are_not_followed(server: Server, outgoing: Outgoing) -> None:
    here = f"http://127.0.0.1:{server.port}"
    answer = await outgoing.fetch("GET", f"{here}/to/{here}/plain")
    assert (answer.status, len(server.asked)) == (302, 1)


async def test_redirects_are_checked_where_followed(server: Server, outgoing: Outgoing) -> None:
    here = f"http://127.0.0.1:{server.port}"
    assert (await outgoing.fetch("GET", f"{here}/to/{here}/plain", follow_redirects=True)).content == b"hello"
    asked = len(server.asked)
    for inside in ("http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/", "file:///etc/passwd", "//10.0.0.1/"):
        with pytest.raises(UnsafeUrl):
            await outgoing.fetch("GET", f"{here}/to/{inside}", follow_redirects=True)
    assert len(server.asked) == asked + 5


async def test_redirects_have_an_end(server: Server, outgoing: Outgoing) -> None:
    path = "/to/" * 9
    with pytest.raises(FetchFailed):
        await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}{path}", follow_redirects=True)
    assert len(server.asked) <= 4


@pytest.mark.parametrize("path", ["/size/1001", "/endless", "/packed"])
async def test_too_much_is_refused(server: Server, outgoing: Outgoing, path: str) -> None:
    with pytest.raises(FetchFailed):
        await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}{path}", max_bytes=1000)


async def test_as_much_as_allowed(server: Server, outgoing: Outgoing) -> None:
    answer = await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}/size/1000", max_bytes=1000)
    assert len(answer.content) == 1000
    assert server.headers(0)["accept-encoding"] == "identity"


async def test_drops_that_keep_coming_have_an_end(server: Server, outgoing: Outgoing) -> None:
    start = time.perf_counter()
    with pytest.raises(FetchFailed):
        await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}/drip", total_s=0.3)
    assert 0.3 <= time.perf_counter() - start < 3


async def test_look_up_that_hangs_has_an_end(strict: Outgoing, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        done.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(FetchFailed):
        await strict.fetch("GET", "https://slow.example", total_s=0.1)
    with pytest.raises(UnsafeUrl):
        await strict.check("https://slow.example", total_s=0.1)
    done.set()


async def test_nobody_listens(outgoing: Outgoing) -> None:
    with pytest.raises(FetchFailed) as failed:
        await outgoing.fetch("GET", f"http://127.0.0.9:{next(iter(outgoing._guard.policy.ports))}/secret-path")
    assert "secret-path" not in str(failed.value)
    assert failed.value.__suppress_context__


async def test_cookies_are_not_kept(server: Server, outgoing: Outgoing) -> None:
    for path in ("/cookie", "/plain"):
        await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}{path}")
    assert "cookie" not in server.headers(1)


async def test_proxy_of_the_environment_is_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.9:9")
    outgoing = Outgoing(policy(server.port))
    assert (await outgoing.fetch("GET", f"http://127.0.0.1:{server.port}/")).status == 200
    await outgoing.aclose()
