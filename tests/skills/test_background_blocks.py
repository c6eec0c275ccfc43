"""What the blocks of fastapi-background promise, on SQLite and on PostgreSQL, over a real server where it matters."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-service" / "bin" / "python"
DEMO = Path(__file__).parent / "demo"
PYTEST = ("-W", "error", "-m", "pytest", "-q")


def wait_for(holds: Callable[[], object], limit_s: float = 15) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def queue(assemble):
    workspace = assemble("jobs", "worker")
    shutil.copy(DEMO / "notes.py", workspace.path / "app")
    shutil.copy(DEMO / "jobs_suite.py", workspace.path / "tests" / "test_jobs.py")
    workspace.route("notes")
    return workspace


def test_jobs_keep_their_promises(queue, fresh_url):
    assert "18 passed" in queue.check(*PYTEST, "tests/test_jobs.py", TEST_DATABASE_URL=fresh_url())


@contextmanager
def working(workspace, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process; it is killed at the end unless it has ended."""
    process = subprocess.Popen(
        [str(PYTHON), "-W", "error", "-m", "app.worker"],
        cwd=workspace.path, env=workspace.environment(**env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def slow_queue(assemble):
    """Its worker gives an attempt a second, and half a second of margin."""
    workspace = assemble("jobs", "worker")
    for name in ("notes.py", "slow_jobs.py"):
        shutil.copy(DEMO / name, workspace.path / "app")
    workspace.route("notes", "slow_jobs")
    workspace.replace("app/jobs.py", "LEASE_MARGIN = timedelta(seconds=15)", "LEASE_MARGIN = timedelta(seconds=0.5)")
    workspace.replace(
        "app/worker.py", "HANDLERS: dict[str, Handler] = {}", 'HANDLERS: dict[str, Handler] = {"slow": slow}'
    )
    workspace.replace("app/worker.py", "from .settings", "from .slow_jobs import slow\nfrom .settings")
    workspace.replace("app/worker.py", "HANDLERS):", "HANDLERS, timeout_s=1, grace_s=0.3, poll_s=0.05):")
    return workspace


def titles(client: httpx.Client) -> list[str]:
    return [note["title"] for note in client.get("/notes").json()["items"]]


def test_a_killed_workers_job_is_run_again(slow_queue, fresh_url, tmp_path):
    marks = tmp_path / "marks"
    marks.touch()
    env = {"DATABASE_URL": fresh_url(), "MARKS": str(marks)}
    with slow_queue.serve(**env) as service, service.client() as client:
        assert client.post("/slow-jobs", params={"fails": True}).status_code == 500
        started = client.post("/slow-jobs")
        assert started.status_code == 202
        with working(slow_queue, TAKES_S="60", **env) as killed:
            wait_for(marks.read_text)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert titles(client) == []
        with working(slow_queue, TAKES_S="0", **env):
            wait_for(lambda: titles(client))
        first, second = (line.split() for line in marks.read_text().splitlines())
    assert (first[1], second[1]) == ("1", "2")
    assert first[0] == second[0]
    assert first[2] == second[2] == started.headers["x-request-id"]


def test_a_worker_that_is_told_to_stop_puts_its_job_back(slow_queue, fresh_url, tmp_path):
    marks = tmp_path / "marks"
    marks.touch()
    env = {"DATABASE_URL": fresh_url(), "MARKS": str(marks)}
    with slow_queue.serve(**env) as service, service.client() as client:
        client.post("/slow-jobs")
        with working(slow_queue, TAKES_S="0.9", **env) as stopped:
            wait_for(marks.read_text)
            stopped.terminate()
            assert stopped.wait(5) == 0
        with working(slow_queue, TAKES_S="0", **env):
            wait_for(lambda: titles(client))
    assert [line.split()[1] for line in marks.read_text().splitlines()] == ["1", "1"]
