"""A model that plays turns and remembers every request, and an agent that is given one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anthropic.types import Message

from harness.agents import Claude, Setting
from harness.agents.live import Credentials
from harness.agents.messages import MAIN, Refusal, Request, events, message, text, tool
from harness.agents.server import Passed

PLUGIN = '{"name": "small-pack", "version": "1.0.0", "description": "A pack for tests"}'
AGENT = """\
---
name: builder
description: Builds what it is asked for
tools: [Read, Write, Bash, Skill]
{more}---
You are the builder of the small pack, and you build small things.
"""
SKILL = """\
---
name: building
description: Use when something is built
---
# Building
Every small thing is built from smaller things.
"""


def write_pack(folder: Path, agent: str = AGENT.format(more=""), skill: str = SKILL) -> Path:
    files = {".claude-plugin/plugin.json": PLUGIN, "agents/builder.md": agent, "skills/building/SKILL.md": skill}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def bash(number: int, command: str, **more: Any) -> Any:
    return tool(f"toolu_bash_{number}", "Bash", command=command, description="Look", **more)


@dataclass
class Player:
    """Answers by thread and turn, whatever came before; a turn may be a refusal or raw bytes. Then it says so."""

    main: list[Any] = field(default_factory=list)
    sub: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Message | Refusal | Passed:
        with self._lock:
            self.requests.append(request)
            turns = self.main if request.thread == MAIN else self.sub
            turn = turns[request.turn] if request.turn < len(turns) else [text("That is all.")]
            if callable(turn):
                turn = turn(request)
            if isinstance(turn, Refusal | Passed):
                return turn
            return message(f"msg_{next(self._ids)}", request.body["model"], turn)

    def problems(self) -> list[str]:
        return []

    def results(self) -> list[tuple[bool, str]]:
        """The tool results that were sent back, in order; those of a repeated request once."""
        turns = {(request.thread, request.turn): list(request.tool_results()) for request in self.requests}
        return [result for results in turns.values() for result in results]


@dataclass(frozen=True)
class Given(Claude):
    """Claude with a model of the test's own behind the server; everything else is the real path."""

    model: Any = None

    def _model(self, *_: Any) -> Any:
        return self.model


@contextmanager
def api(player: Player, key: str = "sk-dummy") -> Iterator[Credentials]:
    """`player` where the real API would be, on loopback. Whoever has another key is refused."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            known = headers.get("x-api-key") == key
            data = b"".join(events(player.answer(Request(headers, json.loads(raw), raw)))) if known else b""
            self.send_response(200 if known else 403)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Credentials("x-api-key", key, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def place(grader: Any) -> Iterator[Path]:
    """A folder for a trial, with a name that is short enough for a Unix socket."""
    with TemporaryDirectory(prefix="trial-", dir=grader.scratch) as name:
        yield Path(name)


def setting(grader: Any, folder: Path, **limits: Any) -> Setting:
    return Setting(folder, grader.etc, grader.confined, **limits)
