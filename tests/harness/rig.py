"""Small real things for the tests: a task made of a few lines, a grader that is measured, a look at what was left."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.grade import Grader
from harness.model import Check, Grade, Kind, Limits, Task
from harness.service import descendants

PR_SET_CHILD_SUBREAPER = 36
MEASURED = "COVERAGE_PROCESS_CONFIG"
DATA = Path(__file__).resolve().parents[2] / ".coverage-data"
LIMITS = Limits(start_s=20, checks_s=20, memory_mb=512, processes=32, disk_mb=64)

# No framework: it starts in a fraction of a second. {extra} stands at module level, {answer} before the answer.
APP = """\
{extra}
async def app(scope, receive, send):
    assert scope["type"] == "http"
    path, status, body = scope["path"], 200, b"hello"
{answer}
    await send({{"type": "http.response.start", "status": status, "headers": []}})
    await send({{"type": "http.response.body", "body": body}})
"""
GREETS = """
def test_greets(client):
    assert client.get("/").text == "hello"
"""


def app(extra: str = "", answer: str = "") -> dict[str, str]:
    """The files of a service."""
    inner = textwrap.indent(textwrap.dedent(answer), "    ")
    return {"app/__init__.py": "", "app/main.py": APP.format(extra=textwrap.dedent(extra), answer=inner)}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def made_task(folder: Path, checks: str = GREETS, *, services: tuple[str, ...] = (), **changes: object) -> Task:
    """A task whose checks are the text; every check is functional, but for those called *_safe."""
    checks = textwrap.dedent(checks)
    write(folder / "checks", {"test_all.py": checks})
    names = re.findall(r"^def test_(\w+)", checks, re.MULTILINE)
    declared = [Check(name, Kind.SECURITY if name.endswith("_safe") else Kind.FUNCTIONAL, "") for name in names]
    task = Task(folder.name, folder, "", "easy", (), "Greet.", LIMITS, services, {}, tuple(declared), ())
    return replace(task, **changes)


@dataclass(frozen=True)
class MeasuredGrader(Grader):
    """Lets the room of each grading write down which of its lines ran."""

    def _command(self, task: Task, workspace: Path, channel: str) -> list[str]:
        command = super()._command(task, workspace, channel)
        if MEASURED not in os.environ:
            return command
        if not self.confined:
            return ["/usr/bin/env", f"{MEASURED}={os.environ[MEASURED]}", *command]
        return measured(command)


def measured(command: list[str]) -> list[str]:
    """The same sandbox, which shows the folder of the coverage data too."""
    if MEASURED not in os.environ:
        return command
    end = command.index("--remount-ro")
    added = ["--bind", str(DATA), str(DATA), "--setenv", MEASURED, os.environ[MEASURED]]
    return [*command[:end], *added, *command[end:]]


def messages(grade: Grade) -> str:
    return "\n".join(check.message for check in grade.checks)


def outcomes(grade: Grade) -> dict[str, str]:
    return {check.name: str(check.outcome) for check in grade.checks}


def adopt_orphans() -> None:
    """Processes whose parent has ended become ours instead of init's, so that none escapes the look at /proc."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def running() -> dict[int, str]:
    """The living processes below this one, by pid, and their command lines."""
    found = {}
    for pid in descendants(os.getpid()):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
        except OSError:
            continue
        if state not in "ZX":
            found[pid] = command
    return found


def newcomers(before: dict[int, str], *, patience_s: float = 5.0) -> dict[int, str]:
    """Processes that were not there before, when they have had a moment to end; backends of a cluster don't count."""
    deadline = time.monotonic() + patience_s
    while True:
        known = set(before)
        for pid in before:
            known.update(descendants(pid))
        new = {pid: command for pid, command in running().items() if pid not in known}
        if not new or time.monotonic() > deadline:
            return new
        time.sleep(0.05)


def end(processes: dict[int, str]) -> None:
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
