"""A graded service as a process: started in its own sandbox, watched, cut off when it takes too much.

Runs on the trusted side of a grading, in the private network that the service shares with the checks.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from . import sandbox
from .model import Limits

LOG_HEAD = 16 << 10
LOG_TAIL = 48 << 10
PAGE = os.sysconf("SC_PAGE_SIZE")
PRCTL = ctypes.CDLL(None).prctl
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_INSTALLED = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")


@dataclass(frozen=True)
class Launch:
    """Where and how one service runs. Paths are those of the trusted side; `etc` is None where nothing is confined."""

    workspace: Path
    data: Path
    port: int
    environment: Mapping[str, str]
    limits: Limits
    etc: tuple[sandbox.Mount, ...] | None
    workers: int = 1

    def command(self) -> list[str]:
        python = f"{sandbox.INSIDE_ENVIRONMENT}/bin/python"
        if self.etc is None:
            python = str(sandbox.SERVICE_ENVIRONMENT / "bin" / "python")
        serve = [python, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(self.port)]
        serve += ["--workers", str(self.workers)] if self.workers > 1 else []
        if self.etc is None:
            return serve
        box = sandbox.python_box(self.etc).with_mounts(
            sandbox.Mount(str(self.workspace), sandbox.WORKSPACE, writable=True),
            sandbox.Mount(str(self.data), "/data", writable=True),
        )
        return replace(box, network=True).with_environment(self.environment).command(*serve)


class Log:
    """The service's output: the first and the last part are kept, what is between is counted."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._lost = 0
        self._lock = threading.Lock()

    def add(self, data: bytes) -> None:
        with self._lock:
            room = LOG_HEAD - len(self._head)
            self._head += data[:room]
            self._tail += data[room:] if room > 0 else data
            excess = len(self._tail) - LOG_TAIL
            if excess > 0:
                self._lost += excess
                del self._tail[:excess]

    def text(self) -> str:
        with self._lock:
            gap = f"\n[{self._lost} bytes of output left out]\n".encode() if self._lost else b""
            return (bytes(self._head) + gap + bytes(self._tail)).decode(errors="replace")


class Process:
    """A started service. Thread-safe to ask; `stop` ends everything that it started."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.log = Log()
        self.verdict: str | None = None
        self._ended = threading.Event()
        environment = dict(os.environ) if launch.etc is not None else _bare_environment(launch)
        self._process = subprocess.Popen(
            launch.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=launch.workspace,
            env=environment,
            start_new_session=True,
            # Bubblewrap sees to this itself. Only this call happens between fork and exec.
            preexec_fn=_end_with_parent if launch.etc is None else None,  # noqa: PLW1509
        )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _read(self, stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), 1 << 16):
            self.log.add(data)

    def _watch(self) -> None:
        limits = self.launch.limits
        while not self._ended.wait(0.2):
            processes, memory = footprint(self._process.pid)
            if processes > limits.processes:
                self._cut_off(f"it started more than {limits.processes} processes")
            elif memory > limits.memory_mb << 20:
                self._cut_off(f"it used more than {limits.memory_mb} MB of memory")

    def _cut_off(self, why: str) -> None:
        self.verdict = f"the service was stopped: {why}"
        self._kill()

    def wait_ready(self) -> str | None:
        """Wait until it takes connections. None when it does, else why it never will."""
        deadline = time.monotonic() + self.launch.limits.start_s
        while time.monotonic() < deadline:
            if (problem := self.problem()) is not None:
                return problem
            if self._listens():
                return None
            time.sleep(0.01)
        return f"the service did not listen on its port within {self.launch.limits.start_s:g} s"

    def problem(self) -> str | None:
        """Why the service is not running, or None while it is."""
        status = self._process.poll()
        if status is None and self.verdict is None:
            return None
        if self.verdict is not None:
            return self.verdict
        self._reader.join(1)
        if missing := NOT_INSTALLED.findall(self.log.text()):
            return f"the service ended: it imports {missing[-1]!r}, which is not among the packages at hand"
        return f"the service ended with exit code {status}"

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.launch.port), 1) as connection:
                if self.launch.workers == 1:
                    return True
                # With workers the port is open before any of them can answer.
                connection.settimeout(self.launch.limits.start_s)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False

    def stop(self) -> None:
        self._ended.set()
        self._kill()
        self._process.wait()
        self._reader.join(1)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _kill(self) -> None:
        # In the sandbox the first of them is bubblewrap, whose end takes the whole PID namespace with it.
        _end(self._process.pid, *descendants(self._process.pid))


def _bare_environment(launch: Launch) -> dict[str, str]:
    path = f"{sandbox.SERVICE_ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(launch.data), "LANG": "C.UTF-8", "TZ": "UTC", **launch.environment}


def adopt_orphans() -> None:
    """Without a PID namespace, what a service leaves behind becomes a child of this process, to be ended with it."""
    PRCTL(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_parent() -> None:
    PRCTL(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def end_below(pid: int) -> None:
    """Kill everything below `pid`, and what it starts meanwhile."""
    ended: set[int] = set()
    while new := set(descendants(pid)) - ended:
        _end(*new)
        ended |= new


def _end(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, nearest first, as /proc shows them now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def footprint(pid: int) -> tuple[int, int]:
    """Number of processes below `pid` and the bytes of memory that they hold."""
    below = descendants(pid)
    memory = 0
    for child in below:
        try:
            memory += int(Path(f"/proc/{child}/statm").read_text().split()[1]) * PAGE
        except (OSError, IndexError):
            continue
    return len(below), memory
