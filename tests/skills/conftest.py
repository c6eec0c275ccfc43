"""Assembles building blocks into a workspace, as an agent does, and runs it with the environment of graded services."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from harness import postgres

ROOT = Path(__file__).resolve().parents[2]
SKILLS = ROOT / "skills"
DEMO = Path(__file__).parent / "demo"
PYTHON = ROOT / ".venv-service" / "bin" / "python"
CORE = [*sorted((SKILLS / "fastapi-project" / "snippets").glob("*.py"))]
DATABASE_BLOCKS = ("database", "schema", "migrations")
START_S = 30


@dataclass
class Service:
    """A running uvicorn."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def client(self, **keywords: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=15, trust_env=False, **keywords)

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        """The log, each line of which is JSON; with `wanted`, waits for events that have these values."""
        deadline = time.monotonic() + 5
        while True:
            events = [json.loads(line) for line in self.log().splitlines() if line.endswith("}")]
            found = [event for event in events if wanted.items() <= event.items()]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)


@dataclass
class Workspace:
    """A folder with the package `app`, its tests and its migrations."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        # One for each process of the test run; it outlives the run, as the libraries take mypy ten seconds.
        cache = ROOT / ".mypy_cache" / f"blocks-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
        return kept | {"PYTHONDONTWRITEBYTECODE": "1", "MYPY_CACHE_DIR": str(cache)} | self.env | extra

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file at the one place where `old` stands."""
        path = self.path / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def route(self, *modules: str) -> None:
        """List the routers of `modules` in application.py."""
        self.replace(
            "app/application.py", "from . import health", f"from . import {', '.join(sorted({'health', *modules}))}"
        )
        routers = [f"{module}.router" for module in ("health", *modules)]
        self.replace("app/application.py", "(health.router,)", f"({', '.join(routers)})")

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PYTHON), *arguments],
            cwd=self.path, env=self.environment(**env), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def check(self, *arguments: str, **env: str) -> str:
        """Run Python with these arguments; it must succeed."""
        done = self.run(*arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def serve(self, workers: int = 1, package: str = "app", **env: str) -> Iterator[Service]:
        """Serve the app of `main.py` with warnings as errors until the block is left."""
        port = _free_port()
        output = self.path.parent / f"log-{secrets.token_hex(4)}"
        command = [str(PYTHON), "-W", "error", "-m", "uvicorn", f"{package}.main:app", "--port", str(port)]
        with output.open("wb") as out:
            process = subprocess.Popen(
                [*command, "--workers", str(workers)],
                cwd=self.path, env=self.environment(**env), stdout=out, stderr=out,
            )  # fmt: skip
        service = Service(f"http://127.0.0.1:{port}", process, output)
        try:
            _wait_until_up(service, workers)
            yield service
        finally:
            process.terminate()
            process.wait(15)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(service: Service, workers: int) -> None:
    deadline = time.monotonic() + START_S
    while service.log().count("Application startup complete") < workers:
        assert service.process.poll() is None, service.log()
        assert time.monotonic() < deadline, service.log()
        time.sleep(0.03)
    while True:
        try:
            with service.client() as client:
                client.get("/livez")
        except httpx.TransportError:
            assert time.monotonic() < deadline, service.log()
            time.sleep(0.03)
        else:
            return


Assemble = Callable[..., Workspace]


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Assemble:
    """`assemble("passwords", "tokens")`: the core blocks and those named, whichever skill they are in."""

    def build(*blocks: str, **env: str) -> Workspace:
        path = tmp_path_factory.mktemp("workspace") / "service"
        (path / "app").mkdir(parents=True)
        (path / "app" / "__init__.py").touch()
        named = [_block(name) for name in (*DATABASE_BLOCKS, *blocks)]
        for file in (*CORE, *named):
            shutil.copy(file, path / "app")
        project, database = (SKILLS / skill / "snippets" for skill in ("fastapi-project", "fastapi-database"))
        shutil.copytree(project / "tests", path / "tests")
        shutil.copy(project / "pyproject.toml", path)
        shutil.copytree(database / "migrations", path / "migrations")
        shutil.copy(database / "alembic.ini", path)
        return Workspace(path, env)

    return build


def _block(name: str) -> Path:
    found = list(SKILLS.glob(f"*/snippets/{name}.py"))
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


@pytest.fixture(scope="session")
def workspace_at() -> Callable[..., Workspace]:
    """`workspace_at(folder, SECRET_KEY=...)`: a folder that something else has filled."""
    return lambda folder, **env: Workspace(folder, env)


@dataclass(frozen=True)
class Database:
    """A fresh database of the cluster, with its URL for an app."""

    name: str
    url: str
    folder: Path
    password: str

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return postgres.connect(str(self.folder), self.password, self.name)

    @contextmanager
    def on_commit(self, body: str) -> Iterator[None]:
        """Run PL/pgSQL at each commit that inserted a note."""
        with self.connect() as admin:
            admin.execute(
                sql.SQL("create function at_commit() returns trigger language plpgsql as {}").format(
                    sql.Literal(f"begin {body}; return null; end")
                )
            )
            admin.execute(
                "create constraint trigger at_commit after insert on notes "
                "deferrable initially deferred for each row execute function at_commit()"
            )
            yield
            admin.execute("drop function at_commit cascade")


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    with (
        tempfile.TemporaryDirectory(prefix="blocks-") as parent,
        postgres.cluster(_open_to_all(Path(parent)) / "cluster", confined=False) as made,
    ):
        yield made


def _open_to_all(folder: Path) -> Path:
    """PostgreSQL runs as another user where the tests run as root."""
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def fresh_postgres(cluster: postgres.Cluster) -> Callable[[], Database]:
    """A new database at each call. Its password holds what URLs, % formats and configparser stumble over."""

    def make() -> Database:
        made = cluster.create()
        password = secrets.token_hex(8) + "%(x)s%/@:# '"
        with cluster.connect() as admin:
            admin.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(made.name), sql.Literal(password)))
        quoted = re.sub(r"[^0-9a-z]", lambda found: f"%{ord(found[0]):02X}", password)
        url = f"postgresql+asyncpg://{made.name}:{quoted}@/{made.name}?host={cluster.folder}"
        return Database(made.name, url, cluster.folder, cluster.password)

    return make


@pytest.fixture(scope="session")
def fresh_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    return lambda: f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('sqlite')}/app.db"


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def fresh_url(request: pytest.FixtureRequest) -> Callable[[], str]:
    """The URL of a new database at each call; tests that use it run on both."""
    if request.param == "sqlite":
        sqlite: Callable[[], str] = request.getfixturevalue("fresh_sqlite")
        return sqlite
    make: Callable[[], Database] = request.getfixturevalue("fresh_postgres")
    return lambda: make().url


@pytest.fixture(scope="session")
def notes(assemble: Assemble) -> Workspace:
    """The core blocks with the demo's routes."""
    workspace = assemble()
    shutil.copy(DEMO / "notes.py", workspace.path / "app")
    workspace.route("notes")
    return workspace


ORIGIN = "https://front.example"


@pytest.fixture(scope="session")
def service(notes: Workspace, fresh_url: Callable[[], str]) -> Iterator[Service]:
    """The demo, on SQLite and on PostgreSQL."""
    with notes.serve(DATABASE_URL=fresh_url(), CORS_ORIGINS=ORIGIN, MAX_BODY_BYTES="10000") as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client(headers={"Origin": ORIGIN}) as client:
        yield client
