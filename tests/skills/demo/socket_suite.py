"""Runs beside a service: SOCKET_URL, with TOKEN of a caller and SPENT_TOKEN of one who will have logged out."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

URL, TOKEN = os.environ["SOCKET_URL"], os.environ["TOKEN"]
HTTP = URL.replace("ws://", "http://").removesuffix("/ws")
FRONT = "https://front.example"


def consume(socket: ClientConnection, *, talking: bool = False) -> None:
    """Read until it is closed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if talking:
            socket.send(json.dumps({"text": "still here"}))
            time.sleep(0.21)
        socket.recv(timeout=20)


def closed_with(socket: ClientConnection, *, talking: bool = False) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        consume(socket, talking=talking)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@contextmanager
def opened(token: str = TOKEN, **options) -> Iterator[ClientConnection]:
    with connect(URL, proxy=None, **options) as socket:
        socket.send(json.dumps({"token": token}))
        yield socket


def say(socket: ClientConnection, words: str) -> dict:
    socket.send(json.dumps({"text": words}))
    return json.loads(socket.recv(timeout=20))


@pytest.mark.parametrize("origin", [None, FRONT])
def test_a_known_caller_is_heard(origin: str | None) -> None:
    with opened(origin=origin) as socket:
        answer = say(socket, "hello")
        assert answer["text"] == "hello"
        assert answer["sender"] == os.environ["USER_ID"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://front.example.evil", ""])
def test_another_origin_is_refused_before_it_is_accepted(origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("token", ["garbage", "", "x" * 5000])
def test_a_bad_token_is_refused(token: str) -> None:
    with opened(token) as socket:
        assert closed_with(socket)[0] in (1007, 1008)


def test_a_token_in_the_url_is_no_token() -> None:
    with connect(f"{URL}?token={TOKEN}", proxy=None) as socket:
        assert closed_with(socket) == (1008, "no token")


@pytest.mark.parametrize(
    ("message", "code"),
    [("not json", 1007), ("{}", 1007), ('{"text": "a", "role": "b"}', 1007), ('{"text": "\\ud800"}', 1007),
     (b"{}", 1003), (json.dumps({"text": "x" * 20_000}), 1009)],
    ids=range(6),
)  # fmt: skip
def test_what_is_no_message_ends_it(message: str | bytes, code: int) -> None:
    with opened() as socket:
        say(socket, "hello")
        socket.send(message)
        assert closed_with(socket)[0] == code


def test_too_many_messages_end_it() -> None:
    with opened() as socket:
        for _ in range(19):
            say(socket, "hello")
        with suppress(ConnectionClosed):
            for _ in range(60):
                socket.send(json.dumps({"text": "hello"}))
        assert closed_with(socket) == (1008, "too many messages")


@pytest.mark.parametrize("talking", [True, False])
def test_logging_out_ends_it(talking: bool) -> None:
    credentials = {"username": os.environ["EMAIL"], "password": "correct horse 9"}
    spent = httpx.post(f"{HTTP}/auth/login", data=credentials).json()
    with opened(spent["access_token"]) as socket:
        say(socket, "hello")
        httpx.post(f"{HTTP}/auth/logout", json={"refresh_token": spent["refresh_token"]}).raise_for_status()
        assert closed_with(socket, talking=talking) == (1008, "not authenticated")
