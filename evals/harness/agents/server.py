"""The one address that an agent's sandbox reaches: POST /v1/messages on a private Unix socket.

What stands behind it is a scripted model or the real API; the sandbox can't tell and never holds a key. Requests need
the trial's token, and what they carry is watched for the markers of the arm.
"""

from __future__ import annotations

import hmac
import json
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol

from anthropic.types import Message

from .messages import MAIN, Refusal, Request, events
from .packs import Arm

LARGEST_REQUEST = 64 << 20


@dataclass(frozen=True)
class Passed:
    """An upstream's answer, handed through as it comes."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes]


class Model(Protocol):
    """Answers requests. Called from several threads."""

    def answer(self, request: Request) -> Message | Refusal | Passed: ...


@dataclass
class Observed:
    """What the requests of a trial showed: whose prompts and which skills' texts were in them."""

    requests: int = 0
    answered: int = 0
    strangers: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    skills: set[str] = field(default_factory=set)

    def see(self, request: Request, arm: Arm) -> None:
        self.requests += 1
        if request.thread != MAIN:
            system = request.system()
            self.agents |= {name for name, marker in arm.agents.items() if marker in system}
        conversation = request.conversation()
        self.skills |= {name for name, marker in arm.skills.items() if marker in conversation}


@dataclass(frozen=True)
class _Desk:
    """What every connection of one server shares."""

    model: Model
    arm: Arm
    token: str
    observed: Observed = field(default_factory=Observed)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def consider(self, request: Request) -> Message | Refusal | Passed:
        with self.lock:
            self.observed.see(request, self.arm)
        answer = self.model.answer(request)
        with self.lock:
            self.observed.answered += not isinstance(answer, Refusal)
        return answer

    def admits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def note(self, stranger: str) -> None:
        with self.lock:
            self.observed.strangers.append(stranger)


@contextmanager
def serving(path: Path, model: Model, arm: Arm, token: str) -> Iterator[Observed]:
    """Serve `model` on the Unix socket `path`, for as long as the block lasts."""
    desk = _Desk(model, arm, token)
    with _Server(str(path), type("Handler", (_Handler,), {"desk": desk})) as server:
        path.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield desk.observed
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A CLI that was ended leaves open connections behind, which is no news."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    desk: _Desk

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the name is the base class's
        """Silent: standard error belongs to the command line."""

    def do_GET(self) -> None:
        self._refuse(Refusal(404, "not_found_error", "only POST /v1/messages is served"))

    do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815  names that http.server looks for

    def do_POST(self) -> None:
        size = self.headers.get("content-length") or ""
        if not size.isdecimal() or int(size) > LARGEST_REQUEST:
            return self._refuse(Refusal(413, "request_too_large", "a request needs a length of at most 64 MiB"))
        raw = self.rfile.read(int(size))
        if self.path.partition("?")[0] != "/v1/messages":
            return self._refuse(Refusal(404, "not_found_error", "only POST /v1/messages is served"))
        if not self.desk.admits(self.headers.get("x-api-key") or ""):
            return self._refuse(Refusal(403, "permission_error", "this is not the trial's token"))
        try:
            body = json.loads(raw)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(headers, body, raw)
            answer = self.desk.consider(request)
        except (ValueError, KeyError, TypeError) as error:
            return self._refuse(Refusal(403, "invalid_request_error", f"not a Messages request: {error!r}"))
        if isinstance(answer, Passed):
            return self._pass(answer)
        if isinstance(answer, Refusal):
            return self._send(answer.status, "application/json", answer.data())
        if request.streams:
            return self._send(200, "text/event-stream", b"".join(events(answer)))
        return self._send(200, "application/json", answer.model_dump_json().encode())

    def _refuse(self, refusal: Refusal) -> None:
        self.desk.note(f"{self.command} {self.path}: {refusal.text}")
        self.close_connection = True
        self._send(refusal.status, "application/json", refusal.data())

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _pass(self, answer: Passed) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for chunk in answer.body:
            self.wfile.write(chunk)
            self.wfile.flush()
