"""Requests that no well-behaved client sends: byte by byte over a socket."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import samples

BOUNDARY = "----form9f3c1b7a"
CHUNK = 32 * 1024


def part(content: bytes, *, filename: bytes | None = None, extra: bytes = b"") -> bytes:
    """The part that holds the file, under a name as raw bytes, or one that no other file has."""
    filename = filename if filename is not None else f"{samples.word()}.txt".encode()
    label = b'name="file"; filename="' + filename + b'"\r\nContent-Type: text/plain\r\n' + extra
    return _part(label, content)


def field(name: str, content: bytes) -> bytes:
    """A part that is no file."""
    return _part(b'name="' + name.encode() + b'"\r\n', content)


def _part(label: bytes, content: bytes) -> bytes:
    return b"--" + BOUNDARY.encode() + b"\r\nContent-Disposition: form-data; " + label + b"\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY.encode() + b"--\r\n"


FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def dial(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.socket()
    # A small buffer, so that what was sent is about what was taken.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    connection.settimeout(5)
    connection.connect((parts.hostname, parts.port))
    return connection


def endless_upload(url: str, headers: dict[str, str], *, most: int, patience_s: float = 8) -> tuple[int | None, int]:
    """Send a chunked upload that does not end, reading at the same time: the status or None, and the bytes sent."""
    sent = 0
    pending = memoryview(head("POST", "/files", {**headers, "Transfer-Encoding": "chunked", "Content-Type": FORM_TYPE}))
    begin = part(b"")[:-2]
    chunks = _chunked(begin, samples.text(CHUNK))
    answer = b""
    deadline = time.monotonic() + patience_s
    with dial(url) as connection:
        connection.setblocking(False)
        while b"\r\n" not in answer and sent < most and time.monotonic() < deadline:
            readable, writable, _ = select.select([connection], [connection], [], 0.5)
            try:
                if readable:
                    data = connection.recv(4096)
                    if not data:
                        break
                    answer += data
                elif writable:
                    pending = pending or memoryview(next(chunks))
                    count = connection.send(pending)
                    pending, sent = pending[count:], sent + count
            except ConnectionError:
                break
    words = answer.split(b" ", 2)
    return (int(words[1]) if len(words) > 1 and words[1][:3].isdigit() else None), sent


def _chunked(first: bytes, rest: bytes) -> Iterable[bytes]:
    yield b"%x\r\n%s\r\n" % (len(first), first)
    framed = b"%x\r\n%s\r\n" % (len(rest), rest)
    while True:
        yield framed


def abandoned_upload(url: str, headers: dict[str, str], *, promised: int, sent: int) -> None:
    """Promise a body, send a part of it, and hang up."""
    body = part(samples.text(promised))
    with dial(url) as connection:
        connection.sendall(
            head("POST", "/files", {**headers, "Content-Length": str(len(body)), "Content-Type": FORM_TYPE})
        )
        connection.sendall(body[:sent])
        # Long enough for the service to begin with it.
        time.sleep(0.1)
