"""What the harness costs, beside the same work done without it in the same run."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

from benchmarks import measure
from benchmarks.measure import ROOT
from harness import contract, sandbox, tasks, workspace
from harness.agents import Claude, Setting, arm
from harness.agents.claude import CLI, QUIET, TOOLS
from harness.agents.messages import Refusal, Request, events
from harness.agents.scripted import ScriptedModel, script
from harness.grade import Grader, grader
from harness.model import Status, Task


@contextmanager
def bare_server(model: ScriptedModel) -> Iterator[int]:
    """The scripted model on a TCP port, as the shortest script would serve it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the base class's name
            pass

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = model.answer(Request(headers, json.loads(raw), raw))
            refused = isinstance(answer, Refusal)
            data = answer.data() if isinstance(answer, Refusal) else b"".join(events(answer))
            self.send_response(403 if refused else 200)
            self.send_header("content-type", "application/json" if refused else "text/event-stream")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


async def _drive(options: ClaudeAgentOptions, prompt: str) -> None:
    async with ClaudeSDKClient(options) as client:
        await client.query(prompt)
        async for message in client.receive_response():
            if isinstance(message, ResultMessage) and message.is_error:
                raise RuntimeError(f"the bare conversation failed: {message.result}")
    await anyio.sleep(0.05)


def bare(task: Task, folder: Path, home: Path) -> None:
    """The same conversation by a plain SDK script: no sandbox, no workspace rules, no judgement."""
    workspace.starter(task, folder)
    pack = arm("pack")
    model = ScriptedModel(script(task, pack, str(ROOT), task.solution, str(folder)))
    path = f"{sandbox.SERVICE_ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin"
    with bare_server(model) as port:
        environment = {
            **dict.fromkeys(QUIET, "1"),
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": "dummy",
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "HOME": str(home),
            "PATH": path,
        }
        options = ClaudeAgentOptions(
            cwd=str(folder),
            cli_path=str(CLI),
            env=environment,
            setting_sources=[],
            plugins=[{"type": "local", "path": str(ROOT)}],
            tools=TOOLS,
            allowed_tools=TOOLS,
            permission_mode="acceptEdits",
            model="sonnet",
        )
        anyio.run(_drive, options, contract.prompt(task, pack.agent))
    if model.problems():
        raise RuntimeError(f"the bare conversation left the script: {model.problems()}")


def overhead() -> None:
    """CPU of a scripted trial without its grading, beside the same conversation by a bare script."""
    task = tasks.load(tasks.names()[0])
    with grader(confined=sandbox.obstacle() is None) as judge, TemporaryDirectory(prefix="bench-") as name:
        places = (Path(name) / str(number) for number in range(2 * measure.ROUNDS))

        def plain() -> None:
            place = next(places)
            bare(task, place / "workspace", place / "home")

        def ours() -> None:
            place = next(places)
            place.mkdir()
            work = Claude(arm("pack"), Setting(place, judge.etc, judge.confined)).work(task, place / "workspace")
            if work.status is not Status.COMPLETED:
                raise RuntimeError(f"the trial did not complete: {work.error}")

        base, spent = measure.usual(measure.cost, plain), measure.usual(measure.cost, ours)
    print(f"scripted trial, {task.name}: {spent:.2f} CPU s; bare SDK script: {base:.2f} CPU s; "
          f"ratio {spent / base:.2f} (goal: at most 1.3)")  # fmt: skip


def start() -> None:
    """From the begin of a grading to a listening service, beside uvicorn started plainly on a SQLite file."""
    with grader(confined=sandbox.obstacle() is None) as judge:
        for name in tasks.names():
            task = tasks.load(name)
            with TemporaryDirectory(prefix="bench-") as folder:
                answer = workspace.solution(task, Path(folder) / "answer")
                graded = median(judge.grade(task, answer).start_seconds for _ in range(measure.ROUNDS))
                plain = median(_plain_start(judge, task, answer) for _ in range(measure.ROUNDS))
            print(f"start of a graded service, {name}: {graded:.2f} s; plain uvicorn: {plain:.2f} s; "
                  f"the harness adds {graded - plain:.2f} s (goal: at most 0.3)")  # fmt: skip


def _plain_start(judge: Grader, task: Task, answer: Path) -> float:
    """Seconds from starting uvicorn until its start-up is complete, on a fresh SQLite file: no relay, no sandbox."""
    with TemporaryDirectory(prefix="bench-", dir=judge.scratch) as data:
        given = {name: value.replace("{secret}", secrets.token_hex(32)).replace("{data}", data)
                 for name, value in task.environment.items()}  # fmt: skip
        given |= {"DATABASE_URL": f"sqlite+aiosqlite:///{data}/plain.db", "PATH": os.defpath, "HOME": data}
        python = str(sandbox.SERVICE_ENVIRONMENT / "bin" / "python")
        command = [python, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", "0"]
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=answer, env=given, stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        for line in process.stdout:
            if b"Uvicorn running on" in line:
                break
        seconds = time.monotonic() - began
        process.kill()
        process.wait()
        process.stdout.close()
        return seconds


def evaluate() -> None:
    _command("scripts/eval, every task, scripted (goal: at most 60 s)", "run", "--model", "scripted")


def prove() -> None:
    _command("prove, every task (goal: at most 300 s)", "prove")


def _command(what: str, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "evals" / "run.py"), *arguments]
    began = time.monotonic()
    with TemporaryDirectory(prefix="bench-") as folder:
        out = ["--out", f"{folder}/out"] if arguments[0] == "run" else []
        ran = subprocess.run([*command, *out], capture_output=True, text=True, check=False)
    print(f"{what}: {time.monotonic() - began:.1f} s, exit code {ran.returncode}")
