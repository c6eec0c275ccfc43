"""The app as a process of its own behind a real socket.

It shows what a client in the same process hides: an answer that comes before the commit, a blocked event loop, limits
of bodies and headers, a start on an empty database, a stop while requests run.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from pydantic_settings import BaseSettings, NoDecode

from app import application

TARGET = f"{application.__package__}.main:app"
START_S = 30
# It takes over a socket that listens already: no port is guessed, and the first request waits instead of being refused.
PROGRAM = """
import socket, sys, uvicorn
server = uvicorn.Server(uvicorn.Config(sys.argv[1], timeout_graceful_shutdown=5))
server.run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
sys.exit(0 if server.started else 3)
"""


@pytest.fixture
async def live(settings: BaseSettings, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the app in a process of its own, with the test's settings."""
    with serve(TARGET, environment(settings), tmp_path / "server.log") as url:
        async with httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            yield client


@contextmanager
def serve(target: str, variables: Mapping[str, str], log: Path) -> Iterator[str]:
    """Serve `package.module:app` with warnings as errors; gives its URL. Raises RuntimeError where it doesn't start."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUNBUFFERED": "1"}
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as output:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, target, str(listening.fileno())],
            env=inherited | paths | dict(variables), pass_fds=[listening.fileno()], stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _wait(process, url, log)
        yield url
    finally:
        process.terminate()
        process.wait(15)


def environment(settings: BaseSettings) -> dict[str, str]:
    """The variables from which another process makes the same settings."""
    known = type(settings).model_fields
    return {
        # pydantic-settings reads a list as JSON, unless the field says that it decodes it itself.
        name.upper(): _text(getattr(settings, name), commas=NoDecode in known[name].metadata)
        for name in settings.model_fields_set
    }


def _text(value: object, *, commas: bool = False) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, list):
        texts = [_text(item) for item in value]
        return ",".join(texts) if commas else json.dumps(texts)
    return str(value)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            httpx2.get(url, timeout=START_S, trust_env=False)
        except httpx2.TransportError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.02)
        else:
            return
