"""What assemble.py promises: every block with its needs, all together, and any subset make an app that works."""

import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import assemble as command
import pytest
from assembly import blocks, install, plan, wiring

ROOT = Path(__file__).resolve().parents[2]
SKILLS = ROOT / "skills"
SCRIPT = SKILLS / "fastapi-project" / "scripts" / "assemble.py"
SERVICE_PYTHON = ROOT / ".venv-service" / "bin" / "python"
LIBRARY = blocks.read_library(SKILLS)
SUBSETS = 50
# Other than what a run happened to choose: ASSEMBLE_SEED=... repeats a run.
SEED = int(os.environ.get("ASSEMBLE_SEED") or secrets.randbelow(10**9))


def run(*arguments: object, cwd: Path, python: Path = SERVICE_PYTHON) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assembled(names: list[str], target: Path) -> None:
    """As the command does it, in this process."""
    install.install(plan.make_plan(LIBRARY, names, plan.find_place(target), force=False, wire=False))


def snapshot(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- blocks, alone and together

# Imports every module of each package, makes its app and its OpenAPI document. Each has a process of its own, as some
# packages keep global registers; forked from one that has the libraries loaded already, for they take a second.
LOADED = """
import importlib, json, logging, os, pathlib, sys
import alembic.command, asyncpg, fastapi, jwt, limits.aio.strategies, pwdlib, sqlalchemy.ext.asyncio, structlog
def load(name):
    for path in sorted(pathlib.Path(name).glob("*.py")):
        importlib.import_module(name if path.stem == "__init__" else f"{name}.{path.stem}")
    app = importlib.import_module(f"{name}.main").app
    document = app.openapi()
    print(json.dumps([name, sorted(document["paths"]), sorted(vars(app.state.settings))]), flush=True)
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        load(name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{name} failed")
"""
ENVIRONMENT = {"DATABASE_URL": "sqlite+aiosqlite:///:memory:", "LOG_LEVEL": "ERROR"}


def values(choice: blocks.Choice) -> dict[str, str]:
    """The variables for the settings without a default, as the declarations for tests make them."""
    wired = wiring.wiring(LIBRARY, choice)
    known: dict[str, Any] = {"tmp_path": Path("/nowhere")}
    imports = [each for each in wired.parts.test_imports if "live_server" not in each]
    exec("\n".join(imports), known)  # noqa: S102  our own files
    made = {name.upper(): text_of(eval(value, known)) for name, value in wired.parts.test_settings}  # noqa: S307
    made |= ENVIRONMENT
    assert {name.upper() for name in wired.required} <= set(made), "test_settings has no value for one of these"
    return made


def text_of(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(text_of(item) for item in value)
    return str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)


def load(workspace, names: dict[str, blocks.Choice]) -> None:
    """Every package imports without a warning, and its app has the routes and settings of its blocks."""
    env = {name: value for choice in names.values() for name, value in values(choice).items()}
    lines = workspace.check("-W", "error", "-c", LOADED, *names, **env).splitlines()
    assert [json.loads(line)[0] for line in lines] == list(names)
    for line in lines:
        name, paths, settings = json.loads(line)
        choice = names[name]
        wanted = {path for block in choice.sources for path in PATHS.get(block, ())}
        assert wanted <= set(paths), f"{name}: seed {SEED}"
        assert set(wiring.wiring(LIBRARY, choice).required) <= set(settings)


PATHS = {
    "auth_routes": ("/auth/login",),
    "user_routes": ("/users/me",),
    "files": ("/files",),
    "share_links": ("/shared",),
}


def test_each_block_with_its_needs_is_an_app(workspace_at, tmp_path):
    """Alone, that is with nothing but what it needs: a declaration that is missing shows here."""
    singles = {f"only_{name}": blocks.needed(LIBRARY, [name, "main"]) for name in LIBRARY.blocks}
    for name in LIBRARY.blocks:
        assembled([name], tmp_path / f"only_{name}")
    workspace = workspace_at(tmp_path)
    load(workspace, singles)
    workspace.check("-m", "ruff", "check", "--no-cache", ".")
    workspace.check("-m", "ruff", "format", "--no-cache", "--check", ".")
    # Those whose app differs from that of all blocks: no accounts, and other classes of settings.
    workspace.check("-m", "mypy", "--strict", "only_main", "only_files", "only_rate_limit")


def test_random_subsets_are_apps(workspace_at, tmp_path):
    chance = random.Random(SEED)  # noqa: S311  nothing secret
    print(f"ASSEMBLE_SEED={SEED}")  # noqa: T201  pytest shows it where the test fails
    names = sorted({*LIBRARY.blocks, *LIBRARY.names})
    chosen = {}
    for number in range(SUBSETS):
        wanted = blocks.expand(LIBRARY, chance.sample(names, chance.randint(1, 8)))
        chosen[f"subset_{number}"] = blocks.needed(LIBRARY, [*wanted, "main"])
        assembled(wanted, tmp_path / f"subset_{number}")
    workspace = workspace_at(tmp_path)
    load(workspace, chosen)
    workspace.check("-m", "ruff", "check", "--no-cache", ".")
    workspace.check("-m", "ruff", "format", "--no-cache", "--check", ".")


@pytest.fixture(scope="session")
def everything(workspace_at, tmp_path_factory):
    """All blocks in a package of another name below src, made by the command."""
    root = tmp_path_factory.mktemp("all") / "shop"
    done = run("--with", ",".join(LIBRARY.blocks), "shop/src/online_shop", cwd=root.parent)
    assert done.returncode == 0, done.stderr
    assert "made the migration src/migrations/versions/" in done.stdout
    assert {"DATABASE_URL", "SECRET_KEY", "UPLOAD_DIR"} <= set(done.stdout.split())
    return workspace_at(root)


def test_all_together_are_clean(everything):
    everything.check("-m", "ruff", "check", "--no-cache", ".")
    everything.check("-m", "ruff", "format", "--no-cache", "--check", ".")
    everything.check("-m", "mypy")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_all_together_pass_their_own_tests(everything, database, cluster):
    server = f"postgresql+asyncpg://grader:{cluster.password}@/postgres?host={cluster.folder}"
    env = {"TEST_DATABASE_URL": server} if database == "postgres" else {}
    # On PostgreSQL those that differ most: a database for each test takes its time.
    files = ["tests/test_migrations.py", "tests/test_share_links.py", "tests/test_user_routes.py"]
    chosen = files if database == "postgres" else []
    out = everything.check("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, **env)
    assert int(re.findall(r"(\d+) passed", out)[0]) >= (8 if chosen else 25)
    with cluster.connect() as admin:
        assert admin.execute("select datname from pg_database where datname like 'test_%'").fetchall() == []


def test_all_together_serve(everything, fresh_url, tmp_path):
    """Over a real socket, with two workers that both migrate an empty database."""
    env = values(blocks.choose(LIBRARY, LIBRARY.blocks))
    env |= {"UPLOAD_DIR": str(tmp_path / "uploads"), "DATABASE_URL": fresh_url(), "LOG_LEVEL": "INFO"}
    everything.env["PYTHONPATH"] = "src"
    with everything.serve(workers=2, package="online_shop", **env) as service, service.client() as client:
        assert client.get("/readyz").status_code == 200
        account = {"email": "ann@example.com", "password": "correct horse 9"}
        assert client.post("/auth/register", json=account).status_code == 201
        form = {"username": account["email"], "password": account["password"]}
        tokens = client.post("/auth/login", data=form).json()
        file = {"file": ("a.txt", b"x" * 2_000_000, "text/plain")}
        assert client.post("/files", files=file).status_code == 401
        refresh = {"Authorization": f"Bearer {tokens['refresh_token']}"}
        assert client.post("/files", files=file, headers=refresh).status_code == 401
        access = {"Authorization": f"Bearer {tokens['access_token']}"}
        made = client.post("/files", files=file, headers=access)
        assert made.status_code == 201, made.text
        assert client.get(f"/files/{made.json()['id']}/content", headers=access).content == b"x" * 2_000_000
        assert client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]}).status_code == 204
        # A file service that only looked at the signature would still let the old token in.
        assert client.get("/files", headers=access).status_code == 401


def test_requirements_bring_every_package_that_is_imported():
    """Each block's requirements, as the environment of the blocks resolves them, hold what the block imports."""
    program = """
import importlib.metadata as m, json, re, sys
names = m.packages_distributions()
def closure(lines):
    seen, waiting = set(), list(lines)
    while waiting:
        line = waiting.pop()
        name, extras = re.match(r"([\\w.-]+)(?:\\[([^]]*)\\])?", line).groups()
        key = re.sub(r"[-_.]+", "-", name).lower(), extras
        if key in seen:
            continue
        seen.add(key)
        try:
            requires = m.requires(name) or []
        except m.PackageNotFoundError:
            continue
        for each in requires:
            text, _, marker = each.partition(";")
            wanted = re.findall(r'extra == ["\\'](.*?)["\\']', marker)
            if not wanted or set(wanted) & set((extras or "").split(",")):
                waiting.append(text.strip())
    return {name for name, _ in seen}
for block, packages, lines in json.loads(sys.stdin.read()):
    have = closure(lines)
    for package in packages:
        of = {re.sub(r"[-_.]+", "-", each).lower() for each in names.get(package, [package])}
        if not of & have:
            print(f"{block}: nothing brings {package}")
"""
    asked = []
    for name in LIBRARY.blocks:
        choice = blocks.needed(LIBRARY, [name, "main"])
        packages = sorted({package for source in choice.sources.values() for package in source.packages})
        asked.append([name, packages, wiring.wiring(LIBRARY, choice).requirements])
    done = subprocess.run(
        [SERVICE_PYTHON, "-c", program], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert len(asked) > 30


# ---------------------------------------------------------------------- new, existing, changed


def test_a_new_app_takes_one_command_and_little_time(tmp_path):
    done = run("--with", "auth,database,uploads", "service/app", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "service").iterdir()} == {"app", "tests", "pyproject.toml"}
    assert "required environment: DATABASE_URL SECRET_KEY UPLOAD_DIR" in done.stdout


def test_without_names_it_is_the_least_app(workspace_at, tmp_path):
    assert run("app", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "app" / "users.py").exists()
    workspace = workspace_at(tmp_path)
    assert "2 passed" in workspace.check("-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_doing_it_again_changes_nothing(tmp_path):
    assembled(["auth_routes"], tmp_path / "app")
    before = snapshot(tmp_path)
    done = run("--with", "auth-routes", "app", cwd=tmp_path)
    assert "nothing to do" in done.stdout
    assert snapshot(tmp_path) == before


def test_a_second_set_extends_an_app_that_is_as_it_was_assembled(tmp_path):
    """One after the other ends where both at once end."""
    for names in (["files", "share_links"], ["auth_routes", "user_routes"], ["rate_limit"]):
        assembled(names, tmp_path / "one" / "app")
    assembled(["files", "share_links", "auth_routes", "user_routes", "rate_limit"], tmp_path / "two" / "app")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_blocks_that_come_later_get_a_migration(workspace_at, tmp_path):
    first = run("--with", "migrations,auth", "app", cwd=tmp_path)
    assert re.search(r"made the migration migrations/versions/\w+_first\.py", first.stdout), first.stdout
    second = run("--with", "uploads", "app", cwd=tmp_path)
    assert re.search(r"made the migration migrations/versions/\w+_add_files_share_links\.py", second.stdout)
    assert "made" not in run("--with", "etag", "app", cwd=tmp_path).stdout
    workspace = workspace_at(tmp_path)
    some = ["tests/test_share_links.py", "tests/test_migrations.py"]
    assert "6 passed" in workspace.check("-m", "pytest", "-q", "-p", "no:cacheprovider", *some)
    workspace.check("-m", "ruff", "check", "--no-cache", ".")
    workspace.check("-m", "ruff", "format", "--no-cache", "--check", ".")


def test_a_migration_waits_until_the_app_imports_the_new_tables(tmp_path):
    assert run("--with", "migrations", "app", cwd=tmp_path).returncode == 0
    edit(tmp_path / "app/application.py", 'title="Service"', 'title="Shop"')
    assert "made the migration" not in run("--with", "auth", "app", cwd=tmp_path).stdout
    assert "made the migration" in run("--with", "auth", "--wire", "app", cwd=tmp_path).stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.fixture
def edited(tmp_path):
    """An app with accounts that its people have worked on."""
    assembled(["auth_routes", "user_routes"], tmp_path / "app")
    edit(tmp_path / "app/application.py", 'title="Service"', 'title="Shop"')
    edit(tmp_path / "app/throttle.py", "LIMIT = 5", "LIMIT = 9")
    edit(tmp_path / "tests/conftest.py", 'environment="test"', 'environment="test", log_level="ERROR"')
    edit(tmp_path / "pyproject.toml", 'name = "service"', 'name = "shop"')
    return tmp_path


def test_changed_files_stay_and_the_change_is_shown(edited):
    before = snapshot(edited)
    done = run("--with", "uploads", "app", cwd=edited)
    assert done.returncode == 0, done.stderr
    after = snapshot(edited)
    assert {name: after[name] for name in before} == before
    assert {"app/files.py", "app/app_settings.py", "tests/test_files.py"} <= set(after)
    assert "+    app.state.storage = Storage(settings.upload_dir, settings.max_upload_bytes)" in done.stdout
    assert "tests/conftest.py is the project's own" in done.stdout
    assert "kept     app/: throttle.py application.py" in done.stdout


def test_wire_puts_the_parts_into_changed_files(workspace_at, edited):
    assert run("--with", "uploads", "--wire", "app", cwd=edited).returncode == 0
    text = (edited / "app/application.py").read_text()
    assert 'title="Shop"' in text
    assert "LIMIT = 9" in (edited / "app/throttle.py").read_text()
    edit(edited / "app/throttle.py", "LIMIT = 9", "LIMIT = 5")
    workspace = workspace_at(edited)
    some = ["tests/test_files.py", "tests/test_user_routes.py"]
    assert "passed" in workspace.check("-m", "pytest", "-q", "-p", "no:cacheprovider", *some)
    workspace.check("-m", "ruff", "check", "--no-cache", ".")
    workspace.check("-m", "ruff", "format", "--no-cache", "--check", ".")
    again = run("--with", "uploads", "--wire", "app", cwd=edited)
    assert "updated" not in again.stdout
    assert (edited / "app/application.py").read_text() == text


def test_force_replaces_modules_and_tests_and_never_the_project_file(edited):
    assert run("--with", "auth", "--force", "app", cwd=edited).returncode == 0
    assert "LIMIT = 5" in (edited / "app/throttle.py").read_text()
    assert 'title="Service"' in (edited / "app/application.py").read_text()
    assert 'name = "shop"' in (edited / "pyproject.toml").read_text()


def test_dry_run_says_the_same_and_writes_nothing(tmp_path):
    dry = run("--with", "auth", "--dry-run", "service/app", cwd=tmp_path)
    assert dry.returncode == 0
    assert list(tmp_path.iterdir()) == []
    wet = run("--with", "auth", "service/app", cwd=tmp_path)
    assert dry.stdout.replace(" (dry run: nothing is written)", "") == wet.stdout


def test_another_package_gets_modules_and_is_told_the_rest(workspace_at, tmp_path):
    """A service that was not made of blocks keeps every file, and gets no second app."""
    package = tmp_path / "billing" / "api"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "main.py").write_text("import fastapi\n\napp = fastapi.FastAPI()\n")
    (package / "application.py").write_text("def run() -> None: ...\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'billing'\n")
    before = snapshot(tmp_path)
    done = run("--with", "rate-limit,pagination", "billing/api", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = snapshot(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {"billing/api/rate_limit.py", "billing/api/pagination.py", "billing/api/errors.py"} <= set(after)
    assert not {"billing/api/health.py", "tests/conftest.py"} & set(after)
    assert "app.state.limiter = make_limiter(settings.rate_limit_storage)" in done.stdout
    assert "beside the app: add_error_handlers(app)" in done.stdout
    assert "limits>=5.8" in done.stdout
    program = "import billing.api.rate_limit, billing.api.pagination"
    workspace_at(tmp_path).check("-W", "error", "-c", program)


def test_a_module_in_the_way_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "errors.py").write_text("class NotFound(Exception):\n    pass\n")
    before = snapshot(tmp_path)
    done = run("--with", "uploads", "app", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"app/errors\.py is in the way: \w+\.py imports .*which it doesn't have", done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert snapshot(tmp_path) == before


def test_tests_of_the_project_stay_alone(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text("import pytest\n")
    done = run("--with", "auth", "app", cwd=tmp_path)
    assert done.returncode == 0
    assert [path.name for path in (tmp_path / "tests").iterdir()] == ["conftest.py"]
    assert "no fixtures `settings` and `client`" in done.stdout


# ---------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--with", "uplaods", "app"], r"no block is called 'uplaods'; nearest: uploads"),
        (["--with", "xqzw", "app"], r"no block is called 'xqzw'; --list shows all"),
        (["--with", "auth"], r"which package\?"),
        (["--with", "auth", "my-app"], r"'my-app' can't be imported; call the package 'my_app'"),
        (["--with", "auth", "class"], r"'class' can't be imported"),
        (["--with", "auth", "json"], r"would hide another one"),
        (["--with", "auth", "file"], r"file is a file"),
        (["--skills", "nowhere", "app"], r"no skill here has the block main"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_clear_line(tmp_path, arguments, said):
    (tmp_path / "file").write_text("")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def skills(tmp_path):
    """A copy of the skills that a test may break."""
    copy = tmp_path / "skills"
    for folder in SKILLS.glob("*/snippets"):
        shutil.copytree(folder, copy / folder.parent.name / "snippets")
    return copy


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("fastapi-auth/snippets/etag.py", "", r"etag\.py: fastapi-auth has a block etag too|etag"),
        ("fastapi-auth/snippets/blocks.json", "{", r"blocks\.json: Expecting"),
        ("fastapi-auth/snippets/blocks.json", '{"block": {}}', r"unknown key block"),
        (
            "fastapi-auth/snippets/blocks.json",
            '{"blocks": {"users": {"need": []}}}',
            r"users: unknown key need; nearest",
        ),
        ("fastapi-auth/snippets/blocks.json", '{"blocks": {"etag": {}}}', r"declares etag, but there is no etag\.py"),
        ("fastapi-auth/snippets/blocks.json", '{"names": {"auth": ["nobody"]}}', r"nobody is no block"),
        ("fastapi-auth/snippets/users.py", "from .nowhere import x\n", r"users\.py: needs nowhere, which is no block"),
        ("fastapi-auth/snippets/users.py", "def\n", r"users\.py, line 1: invalid syntax"),
    ],
    ids=range(8),
)
def test_a_broken_block_is_named(tmp_path, skills, file, text, said):
    (skills / file).write_text(text)
    done = run("--skills", skills, "--with", "users", "app", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(said, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "app").exists()


def test_list_shows_every_block_with_a_line(capsys):
    assert command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, block in LIBRARY.blocks.items():
        assert f"  {name:18} {block.source.about}" in lines
        assert block.source.about, f"{name}.py has no docstring"


def test_parts_of_middleware_and_the_lifespan_are_put_in(tmp_path, skills, workspace_at):
    """What a declaration can say, all of it in one app that runs."""
    folder = skills / "fastapi-extra" / "snippets"
    folder.mkdir(parents=True)
    (folder / "extra.py").write_text(
        '"""An extra."""\n\nfrom collections.abc import AsyncIterator\nfrom contextlib import asynccontextmanager\n\n'
        "from fastapi import APIRouter, Request\nfrom starlette.types import ASGIApp, Receive, Scope, Send\n\n"
        'router = APIRouter(prefix="/extra")\nended: list[str] = []\n\n\n'
        "@asynccontextmanager\nasync def opened(word: str) -> AsyncIterator[str]:\n    yield word\n"
        '    ended.append(word)\n\n\n@router.get("")\nasync def read(request: Request) -> list[str]:\n'
        '    return [request.app.state.first, request.app.state.second, request.scope["extra"]]\n\n\n'
        "class ExtraMiddleware:\n    def __init__(self, app: ASGIApp) -> None:\n        self.app = app\n\n"
        "    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:\n"
        '        scope["extra"] = "around"\n        await self.app(scope, receive, send)\n'
    )
    (folder / "tests").mkdir()
    (folder / "tests" / "test_extra.py").write_text(
        "import httpx2\nimport pytest\n\nfrom app.extra import ended\n\npytestmark = pytest.mark.anyio\n\n\n"
        "async def test_extra(client: httpx2.AsyncClient) -> None:\n"
        '    assert (await client.get("/extra")).json() == ["made", "open", "around"]\n\n\n'
        'async def test_it_was_closed() -> None:\n    assert ended == ["open", "stopped"]\n'
    )
    declared = {
        "imports": ["from contextlib import suppress", "from .extra import ExtraMiddleware, opened"],
        "state": ['app.state.first = "none"'],
        "make": ['app.state.first = "made"'],
        "during": ['opened("open") as app.state.second', "with suppress(ValueError)"],
        "stop": ['extra.ended.append("stopped")'],
        "middleware": [{"add": "app.add_middleware(ExtraMiddleware)", "outside": "CatchAllMiddleware"}],
        "cors_expose": ["X-Extra"],
    }
    (folder / "blocks.json").write_text(json.dumps({"blocks": {"extra": declared}}))
    done = run("--skills", skills, "--with", "extra", "app", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(skills)
    workspace = workspace_at(tmp_path)
    assert "4 passed" in workspace.check("-m", "pytest", "-q", "-p", "no:cacheprovider")
    workspace.check("-m", "ruff", "check", "--no-cache", ".")
    workspace.check("-m", "ruff", "format", "--no-cache", "--check", ".")
    text = (tmp_path / "app/application.py").read_text()
    assert text.index("(CatchAllMiddleware)") < text.index("(ExtraMiddleware)") < text.index("        CORSMiddleware,")


# ---------------------------------------------------------------------- all or nothing


def test_a_failure_takes_everything_back(tmp_path, monkeypatch):
    """Wherever a rename fails, the folder is as it was."""
    assembled(["health"], tmp_path / "old" / "app")
    rename = Path.replace
    for failing in range(12):
        for target in ("old/app", f"new{failing}/deep/app"):
            before = {path.as_posix() for path in tmp_path.rglob("*")}
            contents = snapshot(tmp_path)
            count = iter(range(1000))

            def fails(self, to, count=count, failing=failing):
                if next(count) == failing:
                    raise OSError(28, "No space left on device")
                return rename(self, to)

            monkeypatch.setattr(Path, "replace", fails)
            wanted = ["auth_routes", "user_routes", "files"]
            place = plan.find_place(tmp_path / target)
            made = plan.make_plan(LIBRARY, wanted, place, force=False, wire=False)
            try:
                install.install(made)
            except OSError:
                assert {path.as_posix() for path in tmp_path.rglob("*")} == before
                assert snapshot(tmp_path) == contents
            else:
                # Fewer files were to be moved one by one than this.
                assert failing > 5
                shutil.rmtree(place.root)
                if target == "old/app":
                    assembled(["health"], tmp_path / "old" / "app")
            monkeypatch.undo()


def test_killed_at_any_moment_leaves_whole_files_and_a_second_run_completes(tmp_path, workspace_at):
    assembled(["auth_routes", "files", "share_links"], tmp_path / "whole" / "app")
    whole = snapshot(tmp_path / "whole")
    program = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import assemble
rename, left = pathlib.Path.replace, [int(sys.argv[2])]
def dies(self, to):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return rename(self, to)
pathlib.Path.replace = dies
assemble.main(["--with", "auth_routes,files,share_links", "app"])
"""
    for moves in (0, 3, 9):
        root = tmp_path / f"killed{moves}"
        assembled(["health"], root / "app")
        old = snapshot(root)
        done = subprocess.run(
            [sys.executable, "-c", program, str(SCRIPT.parent), str(moves)], cwd=root, capture_output=True, check=False
        )
        assert done.returncode == -signal.SIGKILL
        now = {name: text for name, text in snapshot(root).items() if not name.startswith(".assemble-")}
        for name, text in now.items():
            assert text in (old.get(name), whole.get(name)), f"{name} is neither old nor new"
        # The app comes last, so what is there can still be imported.
        workspace_at(root).check("-W", "error", "-c", "import app.application")
        for left in root.glob(".assemble-*"):
            os.utime(left, (0, 0))
        assembled(["auth_routes", "files", "share_links"], root / "app")
        assert snapshot(root) == whole


def test_is_written_for_its_oldest_python():
    """Python 3.10 is what the program claims: it uses no syntax and no module that came later."""
    target = ["--no-cache", "--isolated", "--target-version=py310", "--select=F,E9,YTT"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *target, SCRIPT.parent], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    text = "".join(path.read_text() for path in SCRIPT.parent.rglob("*.py"))
    assert not re.findall(r"\b(?:tomllib|StrEnum|Self|ExceptionGroup|TaskGroup|datetime\.UTC)\b", text)
