"""The trusted side of one grading, as a process: it starts the service, runs the checks, and tells the verdict.

`python -I room.py FD` reads its plan as JSON from standard input and writes one JSON document to file descriptor FD.
Confined, it lives in a network of its own that holds only itself, the service and a relay to the service's database.
The service is confined a second time, so that it sees neither this process nor the checks.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

if __package__ in (None, ""):  # started by path, with -I: the package is not importable yet
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import relay, sandbox
from harness.model import Limits
from harness.service import Launch, Process, adopt_orphans, end_below
from harness.workspace import CACHES

# Never part of an answer: caches, environments, other people's tools.
LEFT_OUT = CACHES | {".git", ".claude", ".venv", "venv"}


@dataclass(frozen=True)
class Plan:
    """What the room is asked to do. `folder` is its scratch space; paths are those that the room sees."""

    nonce: str
    folder: Path
    submission: Path
    checks: Path
    expected: tuple[str, ...]
    environment: dict[str, str]
    limits: Limits
    confined: bool
    begun: float
    database: dict[str, str] | None

    @classmethod
    def read(cls, text: str) -> Plan:
        raw = json.loads(text)
        paths = {name: Path(raw[name]) for name in ("folder", "submission", "checks")}
        expected = tuple(raw["expected"])
        return cls(**{**raw, **paths, "expected": expected, "limits": Limits(**raw["limits"])})


class Room:
    """The state that checks may ask for, through the fixtures of `kit`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.etc = sandbox.written_etc(plan.folder / "etc") if plan.confined else None
        self.database_port = _relay(plan.database["folder"]) if plan.database else 0
        self._ports = iter(range(8000, 8100)) if plan.confined else None

    def port(self) -> int:
        if self._ports is not None:
            return next(self._ports)
        with relay.listen(0) as probe:
            return int(probe.getsockname()[1])

    def launch(self, name: str, *, workers: int, environment: dict[str, str], database: str | None = None) -> Launch:
        """Fresh copies of the submission and of the data folder, so that services don't share files."""
        place = self.plan.folder / name
        workspace, data = place / "workspace", place / "data"
        copy(self.plan.submission, workspace)
        data.mkdir()
        inside = "/data" if self.plan.confined else str(data)
        values = {key: value.replace("{data}", inside) for key, value in self.plan.environment.items()}
        if self.plan.database is not None:
            known = self.plan.database
            values["DATABASE_URL"] = (
                f"postgresql+asyncpg://{known['role']}:{known['role_password']}@127.0.0.1:{self.database_port}"
                f"/{database or known['name']}"
            )
        else:
            values["DATABASE_URL"] = f"sqlite+aiosqlite:///{inside}/{database or 'app'}.db"
        return Launch(workspace, data, self.port(), {**values, **environment}, self.plan.limits, self.etc, workers)


def copy(source: Path, target: Path) -> None:
    """Copy regular files and folders; links and special files are no part of an answer."""

    def unwanted(folder: str, names: list[str]) -> set[str]:
        def wanted(name: str) -> bool:
            path = Path(folder, name)
            return name not in LEFT_OUT and not path.is_symlink() and (path.is_dir() or path.is_file())

        return {name for name in names if not wanted(name)}

    shutil.copytree(source, target, ignore=unwanted)


def _relay(folder: str) -> int:
    """Serve the cluster's Unix socket on loopback from a child process, and return the port."""
    server = relay.listen(5432 if not _taken(5432) else 0)
    port = int(server.getsockname()[1])
    parent = os.getpid()
    if os.fork() == 0:
        threading.Thread(target=relay.serve, args=(server, f"{folder}/.s.PGSQL.5432"), daemon=True).start()
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)
    server.close()
    return port


def _taken(port: int) -> bool:
    try:
        relay.listen(port).close()
    except OSError:
        return True
    return False


class Verdict:
    """Collects what each check said and sends it once, in time or when time is over."""

    def __init__(self, plan: Plan, channel: int) -> None:
        self._plan = plan
        self._channel = channel
        self._results: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._sent = False
        self.start_seconds = 0.0

    def add(self, name: str, outcome: str, message: str, exchanges: list[dict[str, Any]]) -> None:
        """A check passes when every report of it passed; the first failure is the one that is told."""
        with self._lock:
            known = self._results.get(name)
            if known is None or known["outcome"] == "passed":
                self._results[name] = {"outcome": outcome, "message": message, "exchanges": exchanges}

    def send(self, log: str, error: str | None = None) -> None:
        with self._lock:
            if self._sent:
                return
            self._sent = True
            told: dict[str, Any] = {"nonce": self._plan.nonce, "results": self._results, "log": log, "error": error}
            told["start_seconds"] = self.start_seconds
            data = json.dumps(told).encode()
            while data:
                data = data[os.write(self._channel, data) :]


def main(channel: int, text: str) -> int:
    plan = Plan.read(text)
    verdict = Verdict(plan, channel)
    if not plan.confined:
        adopt_orphans()
    room = Room(plan)
    try:
        service = Process(room.launch("service", workers=1, environment={}))
    except (OSError, shutil.Error) as error:
        verdict.send("", f"the submission could not be copied: {error}"[:500])
        return 0
    # Imported while the service starts: pytest and httpx are the slowest part of this process.
    from harness import kit

    problem = service.wait_ready()
    verdict.start_seconds = time.time() - plan.begun
    if problem is not None:
        service.stop()
        verdict.send(service.log.text(), problem)
        return 0

    def out_of_time() -> None:
        verdict.send(service.log.text(), f"the checks' time limit of {plan.limits.checks_s:g} s is over")
        leave(0)

    timer = threading.Timer(plan.limits.checks_s, out_of_time)
    timer.daemon = True
    timer.start()
    try:
        kit.run(room, service, verdict)
    finally:
        timer.cancel()
        problem = service.problem()
        service.stop()
    verdict.send(service.log.text(), problem)
    return 0


def leave(status: int) -> NoReturn:
    """End with everything that was started. Threads of abandoned requests must not hold the room open."""
    end_below(os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    number = int(sys.argv[1])
    os.set_inheritable(number, False)
    try:
        status = main(number, sys.stdin.read())
    except BaseException:  # noqa: BLE001  whatever it is, it is told, and nothing is left running
        sys.stdout.flush()
        traceback.print_exc()
        status = 1
    leave(status)
