"""A workspace and a task -> Grade. The checks arrive only now, and only the room's one verdict is believed."""

from __future__ import annotations

import json
import os
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import postgres, sandbox
from .model import Check, CheckResult, Exchange, Grade, Outcome, Task
from .service import end_below

ROOM = Path(__file__).with_name("room.py")
INSIDE = "/room"
SUBMISSION = "/submission"
CHECKS = "/checks"
GRACE_S = 20.0
LARGEST_VERDICT = 32 << 20


class GraderError(RuntimeError):
    """The grading itself failed; nothing is known about the workspace."""


@dataclass(frozen=True)
class Grader:
    """What all gradings of a run share: a scratch folder, the files of /etc, and one PostgreSQL cluster."""

    scratch: Path
    etc: tuple[sandbox.Mount, ...]
    cluster: postgres.Cluster
    confined: bool

    def grade(self, task: Task, workspace: Path) -> Grade:
        """Start what `workspace` holds and run the task's checks against it. Raises GraderError."""
        started = time.monotonic()
        begun = time.time()
        database = self.cluster.create()
        try:
            with TemporaryDirectory(prefix="grade-", dir=self.scratch) as folder:
                plan = self._plan(task, workspace, Path(folder), database) | {"begun": begun}
                verdict = self._ask(task, workspace, Path(folder), plan)
        finally:
            self.cluster.drop(database)
        return replace(judged(task.checks, verdict), seconds=time.monotonic() - started)

    def _ask(self, task: Task, workspace: Path, folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
        nonce = secrets.token_hex(16)
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as channel, (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                self._command(task, workspace, str(writing)),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder)},
            )
            os.close(writing)
            limit = task.limits.start_s + task.limits.checks_s + GRACE_S
            try:
                told = _talk(process, channel, json.dumps(plan | {"nonce": nonce}).encode(), limit)
            finally:
                end_below(process.pid)
                process.kill()
                process.wait()
        said = (folder / "output").read_text(errors="replace")
        return believed(told, nonce, said)

    def _plan(self, task: Task, workspace: Path, folder: Path, database: postgres.Database) -> dict[str, Any]:
        known = {
            "folder": str(self.cluster.folder),
            "password": self.cluster.password,
            "name": database.name,
            "role": database.name,
            "role_password": database.password,
        }
        return {
            "folder": INSIDE if self.confined else str(folder),
            "submission": SUBMISSION if self.confined else str(workspace),
            "checks": CHECKS if self.confined else str(task.checks_folder),
            "expected": [check.name for check in task.checks],
            "environment": filled(dict(task.environment)),
            "limits": asdict(task.limits),
            "confined": self.confined,
            "database": known if "postgres" in task.services else None,
        }

    def _command(self, task: Task, workspace: Path, channel: str) -> list[str]:
        python = [sys.executable, "-I", str(ROOM), channel]
        if not self.confined:
            return python
        box = sandbox.Box(
            mounts=(
                *sandbox.system(),
                *sandbox.harness_mounts(),
                *sandbox.interpreter(sandbox.SERVICE_ENVIRONMENT),
                sandbox.Mount(str(sandbox.SERVICE_ENVIRONMENT), str(sandbox.SERVICE_ENVIRONMENT)),
                *self.etc,
                sandbox.Mount(str(workspace), SUBMISSION),
                sandbox.Mount(str(task.checks_folder), CHECKS),
                sandbox.Mount(str(self.cluster.folder), str(self.cluster.folder), writable=True),
            ),
            empty=((INSIDE, task.limits.disk_mb), ("/tmp", 64)),  # noqa: S108  inside the sandbox
            environment=(("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("HOME", INSIDE)),
            workdir=INSIDE,
            nestable=True,
        )
        return box.command(*python)


@contextmanager
def grader(*, confined: bool) -> Iterator[Grader]:
    """A grader with its cluster, for as long as the block lasts. Raises SandboxError or PostgresError."""
    if confined and (why := sandbox.obstacle()):
        raise sandbox.SandboxError(why)
    with TemporaryDirectory(prefix="fastapi-pack-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        if not confined:
            scratch.chmod(0o711)  # PostgreSQL, run under another user id where the harness is root, passes through here
        etc = sandbox.written_etc(scratch / "etc")
        with postgres.cluster(scratch / "pg", confined=confined) as cluster:
            yield Grader(scratch, etc, cluster, confined)


def filled(environment: dict[str, str]) -> dict[str, str]:
    """Fill {secret} in; {data} is known in the room only."""
    return {name: value.replace("{secret}", secrets.token_hex(32)) for name, value in environment.items()}


def believed(told: bytes, nonce: str, said: str) -> dict[str, Any]:
    """The one verdict, or GraderError: none, a second one or a wrong nonce is not a verdict."""
    try:
        verdict = json.loads(told)
    except ValueError:
        raise GraderError(f"the room gave no verdict; it said: {said[-2000:] or 'nothing'}") from None
    if not isinstance(verdict, dict) or verdict.get("nonce") != nonce:
        raise GraderError("the verdict's nonce is not the one that was given to the room")
    return verdict


def judged(checks: tuple[Check, ...], verdict: dict[str, Any]) -> Grade:
    """One result for each expected check; one that nobody reported is missing, never passed."""
    error = verdict["error"]
    results = []
    for check in checks:
        said = verdict["results"].get(check.name)
        if said is None:
            message = clean(f"did not run: {error or 'the checks ended before it'}")
            results.append(CheckResult(check.name, check.kind, Outcome.MISSING, message))
            continue
        exchanges = tuple(_exchange(one) for one in said["exchanges"])
        outcome = Outcome(said["outcome"])
        results.append(CheckResult(check.name, check.kind, outcome, clean(said["message"]), exchanges))
    return Grade(
        tuple(results),
        start_seconds=float(verdict["start_seconds"]),
        log=clean(verdict["log"]),
        error=clean(error) if error else None,
    )


def _exchange(said: dict[str, Any]) -> Exchange:
    texts = {name: clean(said[name]) for name in ("method", "url", "request", "response")}
    return Exchange(**texts, status=int(said["status"]))


def clean(text: str) -> str:
    """Without control characters: graded code must not speak to a person's terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _talk(process: subprocess.Popen[bytes], channel: Any, plan: bytes, limit_s: float) -> bytes:
    """Send the plan, and read the channel until its end or the limit."""
    assert process.stdin is not None
    try:
        process.stdin.write(plan)
        process.stdin.close()
    except BrokenPipeError:
        return b""
    deadline = time.monotonic() + limit_s
    told = bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(channel, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not ready.select(left):
                break
            data = os.read(channel.fileno(), 1 << 16)
            if not data:
                return bytes(told)
            told += data
            if len(told) > LARGEST_VERDICT:
                raise GraderError(f"the room said more than {LARGEST_VERDICT} bytes, which is no verdict")
    raise GraderError(f"the room did not come to an end within {limit_s:g} s")
