"""The audit of skill fastapi-review: each rule on code that it must flag and code that it must leave; the command."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "skills" / "fastapi-review" / "scripts"
CASES = Path(__file__).parent / "audit"
SERVICE_PYTHON = ROOT / ".venv-service" / "bin" / "python"
sys.path.insert(0, str(SCRIPTS))

from fastapi_audit.engine import RULES, audit  # noqa: E402
from fastapi_audit.project import newest  # noqa: E402

STATIC = {rule.id for rule in RULES.values() if rule.check}


@dataclass(frozen=True)
class Case:
    rule: str
    name: str
    flagged: bool
    files: dict[str, str]

    def write(self, folder: Path) -> list[Path]:
        for name, code in self.files.items():
            (folder / name).write_text(code)
        return sorted(folder.glob("*.py"))

    def marked(self) -> set[tuple[str, int]]:
        return {
            (name, number)
            for name, code in self.files.items()
            for number, line in enumerate(code.splitlines(), 1)
            if line.endswith("#!")
        }


def read_cases() -> list[Case]:
    found = []
    for path in sorted(CASES.glob("*.txt")):
        for block in re.split(r"^=== ", path.read_text(), flags=re.MULTILINE)[1:]:
            head, _, code = block.partition("\n")
            rule, kind = head.split()
            assert kind in ("flag", "leave")
            parts = re.split(r"^--- (\S+)\n", code, flags=re.MULTILINE)
            files = dict(zip(parts[1::2], parts[2::2], strict=True)) if len(parts) > 1 else {"service.py": code}
            number = sum(one.rule == rule and one.flagged == (kind == "flag") for one in found) + 1
            found.append(Case(rule, f"{rule}-{number}", kind == "flag", files))
    return found


ALL_CASES = read_cases()


def found(case: Case, folder: Path) -> set[tuple[str, int, str]]:
    return {(one.path.name, one.line, one.rule) for one in audit(case.write(folder), RULES)}


@pytest.mark.parametrize("case", [one for one in ALL_CASES if one.flagged], ids=lambda case: case.name)
def test_what_must_be_flagged(case, tmp_path):
    marked = case.marked()
    assert marked
    assert {(name, line) for name, line, rule in found(case, tmp_path) if rule == case.rule} == marked


@pytest.mark.parametrize("case", [one for one in ALL_CASES if not one.flagged], ids=lambda case: case.name)
def test_what_must_be_left(case, tmp_path):
    assert case.marked() == set()
    assert found(case, tmp_path) == set()


def test_every_static_rule_has_both_kinds_of_cases():
    kinds = Counter((case.rule, case.flagged) for case in ALL_CASES)
    assert len(STATIC) >= 30
    assert {rule for rule, flagged in kinds if flagged} == STATIC
    assert {rule for rule, flagged in kinds if not flagged} == STATIC


def test_each_rule_says_why_and_how_to_mend():
    for rule in RULES.values():
        assert re.fullmatch(r"FR\d{3}", rule.id)
        assert 10 < len(rule.title) < 80
        assert len(rule.why) > 20
        assert len(rule.mend) > 10


# ---------------------------------------------------------------------- beside ruff

LEFT_TO_RUFF = "FAST,ASYNC,S,DTZ,B,BLE,RUF006,UP"
# What ruff says of the same lines for another reason, such as `Annotated` or the style of a type.
OTHER_REASON = {"B008", "B904", "FAST001", "FAST002", "S104", "S108", "UP032"}
# Where both see a fault, and why ours is needed beside ruff's.
SEEN_BY_BOTH = {
    # ruff knows plain assignments, ours also the environment's defaults and the types of settings
    "FR301": {"S105"},
    # ruff goes by the words in a string, ours by who wrote what is pasted into it
    "FR206": {"S608"},
    # ruff dislikes every broad except, ours those that hide the route's exception
    "FR209": {"BLE001"},
}


def test_ruff_does_not_find_it_already(tmp_path):
    marked = {}
    for case in (one for one in ALL_CASES if one.flagged):
        folder = tmp_path / case.name
        folder.mkdir()
        case.write(folder)
        marked |= {(case.name, name, line): case.rule for name, line in case.marked()}
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", LEFT_TO_RUFF, "--output-format", "json"]
    done = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
    both: dict[str, set[str]] = {}
    for row in json.loads(done.stdout):
        path = Path(row["filename"])
        rule = marked.get((path.parent.name, path.name, row["location"]["row"]))
        if rule and row["code"] not in OTHER_REASON:
            both.setdefault(rule, set()).add(row["code"])
    assert both == SEEN_BY_BOTH


# ---------------------------------------------------------------------- false alarms


def test_blocks_and_solutions_are_clean():
    files = [
        path
        for pattern in ("skills/*/snippets/**/*.py", "evals/tasks/*/solution/**/*.py")
        for path in sorted(ROOT.glob(pattern))
    ]
    assert len(files) > 40
    assert [f"{one.path.name}:{one.line} {one.rule} {one.message}" for one in audit(files, RULES)] == []


# True: FastAPI's own 422 repeats the input.
KNOWN = {("fastapi", "exception_handlers.py", "FR403")}
PACKAGES = (
    "alembic", "asgi_correlation_id", "cashews", "fastapi", "fastapi_cli", "limits", "pwdlib", "pydantic_settings",
    "prometheus_fastapi_instrumentator", "sentry_sdk", "slowapi", "sqlmodel", "starlette", "uvicorn",
)  # fmt: skip


def test_no_false_alarm_in_installed_packages():
    (site,) = (ROOT / ".venv-service" / "lib").resolve().glob("python3.*/site-packages")
    files = [path for package in PACKAGES for path in sorted((site / package).rglob("*.py"))]
    assert len(files) > 300
    alarms = {(one.path.relative_to(site).parts[0], one.path.name, one.rule) for one in audit(files, RULES)}
    assert alarms == KNOWN


# ---------------------------------------------------------------------- the command

BAD = "from fastapi import FastAPI\n\napp = FastAPI(debug=True)\n"
GOOD = "from fastapi import FastAPI\n\napp = FastAPI()\n"


@dataclass
class Command:
    folder: Path
    python: str = sys.executable
    script: Path = SCRIPTS / "audit.py"

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, str(self.script), *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def test_exit_code_says_clean_or_not(command):
    (command.folder / "good.py").write_text(GOOD)
    done = command()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "0 findings\n")
    (command.folder / "bad.py").write_text(BAD)
    done = command()
    assert done.returncode == 1
    assert done.stdout.startswith("bad.py:3:7: FR408 `debug=True` shows tracebacks to clients. Mend: ")
    assert done.stdout.count("\n") == 1
    assert done.stderr == "1 finding\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["."], "no Python file"),
        (["missing"], "missing: no such file or folder"),
        (["--select", "FR999", "."], "FR999: no such rule"),
        (["--select", ",", "."], "a rule is needed"),
        (["--select", "FR101", "--ignore", "FR1", "."], "leave no rule"),
        (["--explain", "FR1"], "FR1: no such rule"),
        (["--installed", "fastapi=1", "."], "--installed fastapi=1: needs one of"),
        (["--format", "xml", "."], "invalid choice"),
        (["--app", "nonsense"], "needs module:app"),
        (["--app", "nothing:app"], "No module named 'nothing'"),
        (["--app", "a:b", "--app-dir", "missing"], "no such folder"),
        (["--app", "a:b", "--python", "no-such-python"], "no such program"),
    ],
)
def test_wrong_use_exits_with_2(command, arguments, said):
    done = command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_skipped_folders_are_not_looked_at(command):
    for name in (".venv/lib", "venv/lib", "node_modules", "__pycache__", "build"):
        (command.folder / name).mkdir(parents=True)
        (command.folder / name / "bad.py").write_text(BAD)
    assert command().returncode == 2
    assert command("venv/lib").returncode == 1
    (command.folder / "made").mkdir()
    (command.folder / "made" / "bad.py").write_text(BAD)
    (command.folder / "good.py").write_text(GOOD)
    assert command().returncode == 1
    assert command("--exclude", "made").returncode == 0
    assert command("--exclude", "made/*.py").returncode == 0


def test_select_and_ignore(command):
    (command.folder / "bad.py").write_text(BAD + "import passlib\n")
    assert "FR101" not in command("--select", "FR4").stdout
    assert "FR408" not in command("--ignore", "FR408,FR002").stdout
    assert command("--select", "FR408", "--select", "fr101").stdout.count("\n") == 2
    assert command("--select", "FR2").returncode == 0


def test_syntax_errors_are_findings(command):
    (command.folder / "broken.py").write_text("x = 1\ndef f(:\n")
    (command.folder / "nul.py").write_bytes(b"x = 1\0\n")
    (command.folder / "latin.py").write_bytes(b"x = '\xe9'\n")
    done = command()
    assert done.returncode == 1
    assert re.search(r"^broken\.py:2:\d+: FR001 not Python 3\.\d+: ", done.stdout, re.MULTILINE)
    assert Counter(re.findall(r"FR\d+", done.stdout)) == {"FR001": 3}


def test_json(command):
    (command.folder / "bad.py").write_text(BAD)
    (row,) = json.loads(command("--format", "json").stdout)
    assert (row["path"], row["line"], row["column"], row["rule"], row["level"]) == ("bad.py", 3, 7, "FR408", "error")
    assert set(row) == {"path", "line", "column", "rule", "level", "message", "why", "mend"}
    (command.folder / "bad.py").write_text(GOOD)
    assert json.loads(command("--format", "json").stdout) == []


def test_sarif_is_what_code_hosts_read(command):
    (command.folder / "a folder").mkdir()
    (command.folder / "a folder" / "bad.py").write_text(BAD)
    done = command("--format", "sarif", "--output", "found.sarif")
    assert (done.returncode, done.stdout) == (1, "")
    log = json.loads((command.folder / "found.sarif").read_text())
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert all(rule["defaultConfiguration"]["level"] in ("error", "warning") for rule in rules)
    assert all(rule[part]["text"] for rule in rules for part in ("shortDescription", "fullDescription", "help"))
    (result,) = run["results"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "FR408"
    assert (result["level"], bool(result["message"]["text"])) == ("error", True)
    (place,) = result["locations"]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "a%20folder/bad.py"}
    assert place["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 7}


def test_explain_and_rules(command):
    said = command("--explain", "fr201").stdout
    assert said.startswith("FR201 (error): the transaction commits after the answer was sent\nWhy: ")
    assert 'scope="function"' in said
    assert "fastapi 0.118" in said
    assert [line.split()[0] for line in command("--rules").stdout.splitlines()] == list(RULES)


def test_what_is_installed_can_be_told(command):
    (command.folder / "old.py").write_text("from fastapi.responses import ORJSONResponse\n")
    assert command().returncode == 1
    assert command("--installed", "fastapi==0.115.2").returncode == 0


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("==0.115.2", (0, 115, 2)), ("~=1.10", (1, 9999)), ("~=1.10.2", (1, 10, 9999)), (">=1,<2", (1, 9999)),
        ("<0.116.0", (0, 115, 9999)), ("^1.8", (1, 9999)), ("^0.79.1", (0, 79, 9999)), ("~1.10", (1, 10, 9999)),
        (">=2", ()), ("<=0.99.1", (0, 99, 1)),
    ],
)  # fmt: skip
def test_upper_end_of_a_specifier(limits, expected):
    assert newest(limits) == expected


def test_version_comes_from_the_nearest_lock_file(tmp_path):
    code = "from fastapi.responses import ORJSONResponse\n"
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, number in ((old, "0.115.2"), (new, "0.165.0")):
        folder.mkdir()
        (folder / "service.py").write_text(code)
        (folder / "uv.lock").write_text(f'[[package]]\nname = "fastapi"\nversion = "{number}"\n')
        (folder / "pyproject.toml").write_text('[project]\ndependencies = ["fastapi>=0.100,<0.116"]\n')
    assert [one.path.parent.name for one in audit([old / "service.py", new / "service.py"], RULES)] == ["new"]


# ---------------------------------------------------------------------- ignores


@pytest.mark.parametrize(
    "code",
    [
        "app = FastAPI(debug=True)  # audit: ignore[FR408] runs on the author's desk only",
        "# audit: ignore[FR101, FR408] runs on the author's desk only\napp = FastAPI(debug=True)",
        "app = FastAPI(\n    debug=True,\n)  # audit: ignore[FR408] runs on the author's desk only",
    ],
)
def test_a_comment_with_a_reason_silences(code, tmp_path):
    path = tmp_path / "service.py"
    path.write_text(f"from fastapi import FastAPI\n\n{code}\n")
    assert audit([path], RULES) == []


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("# audit: ignore[FR408]", "gives no reason"),
        ("# audit: ignore", "names no rule"),
        ("# audit: ignore[] because", "names no rule"),
        ("# audit: ignore[FR777] because", "FR777, which is no rule"),
    ],
)
def test_a_comment_that_lacks_something_is_a_finding_and_silences_nothing(comment, said, tmp_path):
    path = tmp_path / "service.py"
    path.write_text(f"from fastapi import FastAPI\n\napp = FastAPI(debug=True)  {comment}\n")
    bad, debug = sorted(audit([path], RULES), key=lambda one: one.rule)
    assert (bad.rule, debug.rule) == ("FR002", "FR408")
    assert said in bad.message


def test_a_comment_silences_only_its_rule_and_place(tmp_path):
    path = tmp_path / "service.py"
    path.write_text(
        'from fastapi import FastAPI\n\nTEXT = "# audit: ignore"\n'
        "one = FastAPI(debug=True)  # audit: ignore[FR101] another rule\n"
        "two = FastAPI(debug=True)  # audit: ignore[FR408] this one\n"
        "three = FastAPI(debug=True)\n"
    )
    assert [one.line for one in audit([path], RULES)] == [4, 6]


# ---------------------------------------------------------------------- anywhere, quickly


def test_a_copied_folder_works_alone_on_the_oldest_python(tmp_path):
    copied = shutil.copytree(SCRIPTS, tmp_path / "copy")
    (tmp_path / "bad.py").write_text(BAD)
    isolated = [sys.executable, "-S", "-E", "-s", str(copied / "audit.py"), "bad.py"]
    done = subprocess.run(isolated, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "FR408" in done.stdout


def test_syntax_and_imports_fit_python_3_10():
    files = sorted(SCRIPTS.rglob("*.py"))
    assert len(files) > 10
    newer = {"tomllib", "asyncio.timeout", "datetime.UTC", "enum.StrEnum", "typing.Self", "typing.assert_never"}
    for path in files:
        tree = ast.parse(path.read_text(), feature_version=(3, 10))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            tops = {name.partition(".")[0] for name in names} - {"fastapi_audit"}
            # inspect_app.py runs under the Python of the service.
            assert tops <= set(sys.stdlib_module_names) | ({"fastapi"} if path.name == "inspect_app.py" else set())
            assert not newer & set(names), path


def test_known_keywords_are_those_of_the_installed_fastapi():
    from fastapi import Body, Cookie, FastAPI, File, Form, Header, Path, Query
    from fastapi_audit.rules.outdated import APP_KEYWORDS, PARAMETER_KEYWORDS

    assert set(signature(FastAPI.__init__).parameters) - {"self"} == APP_KEYWORDS
    accepted = [set(signature(one).parameters) for one in (Body, Cookie, File, Form, Header, Path, Query)]
    assert set().union(*accepted) == PARAMETER_KEYWORDS


# ---------------------------------------------------------------------- the running app

APP = """
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.security import OAuth2PasswordBearer

app = FastAPI()
router = APIRouter(prefix="/users")
token = OAuth2PasswordBearer(tokenUrl="/login")
Protected = Depends(token)
documented = {401: {}, 404: {}}

@router.get("/{user_id}")
async def one(user_id: int, _: str = Protected) -> int:
    raise HTTPException(404)

@router.get("/me", responses=documented)
async def me(_: str = Protected):
    return {}

@router.post("/a", operation_id="same", responses={"4XX": {}})
async def first(_: str = Protected) -> int: ...

@router.post("/b", operation_id="same", responses={"default": {}})
async def second(_: str = Protected) -> int: ...

# audit: ignore[FR901] whoever comes may read it
@router.get("/{user_id}/card")
async def card(user_id: int) -> int: ...

@router.get("/{user_id}/open")
async def opened(user_id: int) -> Response: ...

@router.delete("/{user_id}", responses=documented, status_code=204)
async def gone(user_id: int, _: str = Protected): ...

@app.post("/login")
async def login() -> int: ...

@app.get("/health")
async def health() -> int: ...

app.include_router(router)

def create_app() -> FastAPI:
    return app
"""


def rows(done: subprocess.CompletedProcess[str]) -> set[tuple[str, str]]:
    assert done.returncode in (0, 1), done.stderr
    lines: list[dict[str, Any]] = json.loads(done.stdout)
    source = APP.splitlines()
    names = [next(line for line in source[row["line"] - 1 :] if "def " in line) for row in lines]
    return {(row["rule"], re.findall(r"def (\w+)", name)[0]) for row, name in zip(lines, names, strict=True)}


EXPECTED = {
    ("FR905", "one"), ("FR902", "me"), ("FR903", "me"), ("FR904", "second"), ("FR901", "opened"),
}  # fmt: skip


@pytest.mark.parametrize("target", ["service:app", "service:create_app()"])
def test_running_app(command, target):
    (command.folder / "service.py").write_text(APP)
    command.python = str(SERVICE_PYTHON)
    assert rows(command("--app", target, "--format", "json")) == EXPECTED


def test_running_app_from_elsewhere_and_with_another_python(command):
    (command.folder / "src").mkdir()
    (command.folder / "src" / "service.py").write_text("print('noise')\n" + APP.lstrip("\n"))
    done = command("--app", "service:app", "--app-dir", "src", "--python", str(SERVICE_PYTHON), "--format", "json")
    assert rows(done) == EXPECTED
    assert {row["path"] for row in json.loads(done.stdout)} == {"src/service.py"}
    assert rows(command("--app", "service:app", "--app-dir", "src", "--python", str(SERVICE_PYTHON),
                        "--format", "json", "--select", "FR902")) == {("FR902", "me")}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("app = 3", "service:app is a int, not a FastAPI app"),
        ("def app(): ...", "for a factory write it with () at the end"),
        ("import os; os._exit(4)", "exit code 4"),
    ],
)
def test_an_app_that_cannot_be_imported_is_wrong_use(command, code, said):
    (command.folder / "service.py").write_text(code)
    command.python = str(SERVICE_PYTHON)
    done = command("--app", "service:app")
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("task", ["jwt-auth", "file-sharing", "crud-sqlalchemy"])
def test_running_solutions(task, tmp_path):
    """Besides who may call what, nothing is found in the solutions; the tracker's interface has no accounts."""
    solution = shutil.copytree(ROOT / "evals" / "tasks" / task / "solution", tmp_path / "service")
    env = {"DATABASE_URL": "sqlite+aiosqlite:///x.db", "SECRET_KEY": "k" * 40, "STORAGE_DIR": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [str(SERVICE_PYTHON), str(SCRIPTS / "audit.py"), "--app", "app.main:app", "--ignore", "FR901"],
        cwd=solution, env=env | {"UPLOAD_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# ---------------------------------------------------------------------- what the skill says


def test_commands_of_the_skill_run(tmp_path):
    """On a solution: the audit finds nothing but the routes that are public on purpose."""
    shutil.copytree(ROOT / "evals" / "tasks" / "jwt-auth" / "solution", tmp_path, dirs_exist_ok=True)
    text = (SCRIPTS.parent / "SKILL.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    env = {
        "PATH": f"{SERVICE_PYTHON.parent}:/usr/bin:/bin",
        "DATABASE_URL": "sqlite+aiosqlite:///x.db",
        "SECRET_KEY": "k" * 40,
    }
    results = []
    for line in block.replace("${CLAUDE_SKILL_DIR}", str(SCRIPTS.parent)).splitlines():
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        results.append(done.stdout)
    ruff, static, running = results
    assert "error:" not in ruff
    assert static == ""
    assert set(re.findall(r"FR\d+", running)) <= {"FR901"}


def test_command_for_ci_runs_from_a_copy(tmp_path):
    text = (SCRIPTS.parent / "references" / "in-ci.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    shutil.copytree(SCRIPTS, tmp_path / "tools" / "audit")
    (tmp_path / "service.py").write_text(GOOD)
    env = {"PATH": f"{SERVICE_PYTHON.parent}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", block], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


# ---------------------------------------------------------------------- the hook

HOOKS: dict[str, Any] = json.loads((ROOT / "hooks" / "hooks.json").read_text())
Write = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """`written("a.py", code)`: what the plugin's own command answers after Claude Code wrote this file."""
    (entry,) = HOOKS["hooks"]["PostToolUse"]
    (handler,) = entry["hooks"]

    def write(name: str, code: str, tool: str = "Write", **env: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        assert re.fullmatch(entry["matcher"], tool)
        event = {
            "hook_event_name": "PostToolUse",
            "cwd": str(tmp_path),
            "tool_name": tool,
            "tool_input": {"file_path": str(path), "content": code},
            "tool_response": {"filePath": str(path)},
        }
        return run_hook(handler["command"], json.dumps(event), tmp_path, env)

    return write


def run_hook(command: str, event: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "CLAUDE_PLUGIN_ROOT": str(ROOT), "FASTAPI_PACK_DEBUG": "1"} | env
    return subprocess.run(
        ["sh", "-c", command], input=event, cwd=folder, env=given, capture_output=True, text=True, check=False
    )


def test_hook_tells_the_model_what_to_mend(written):
    done = written("app/main.py", BAD)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)["hookSpecificOutput"]
    assert answer["hookEventName"] == "PostToolUse"
    assert "main.py:3: FR408" in answer["additionalContext"]
    assert len(answer["additionalContext"]) < 400


def test_hook_follows_imports_of_the_project(written):
    """The commit is in one file, and what makes it late in the other."""
    written("app/__init__.py", "")
    written("app/database.py", "async def get_db(make):\n    async with make() as s, s.begin():\n        yield s\n")
    code = "from fastapi import Depends\nfrom .database import get_db\n\nDB = Depends(get_db)\n"
    assert "FR201" in written("app/routes.py", code, tool="Edit").stdout


def test_hook_shows_ten_findings(written):
    done = written("main.py", "from fastapi import FastAPI\n" + "app = FastAPI(debug=True)\n" * 30)
    said = json.loads(done.stdout)["hookSpecificOutput"]["additionalContext"]
    assert said.count("FR408") == 10
    assert "and 20 more" in said


def is_silent(done: subprocess.CompletedProcess[str]) -> bool:
    return (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_hook_is_silent_when_clean_or_switched_off(written):
    assert is_silent(written("main.py", GOOD))
    assert is_silent(written("main.py", BAD, FASTAPI_PACK_NO_AUDIT="1"))
    assert not is_silent(written("main.py", BAD, FASTAPI_PACK_NO_AUDIT="0"))


OF_A_MODEL = "import jwt\n\n\ndef read(token, key):\n    return jwt.decode(token, key)\n"


def test_hook_has_no_effect_elsewhere(written):
    assert is_silent(written("read.py", OF_A_MODEL))
    assert is_silent(written("notes.md", BAD))
    written("pyproject.toml", '[project]\ndependencies = ["django", "fastapi-mail-like"]\n')
    assert is_silent(written("read.py", OF_A_MODEL))
    written("pyproject.toml", '[project]\ndependencies = ["fastapi>=0.1"]\n')
    assert not is_silent(written("read.py", OF_A_MODEL))


def test_hook_does_not_take_newer_syntax_for_a_fault(written):
    broken = "import fastapi\n\ndef f(:\n"
    assert "FR001" in written("a.py", broken).stdout
    written("pyproject.toml", '[project]\nrequires-python = ">=3.99"\n')
    assert is_silent(written("a.py", broken))


@pytest.mark.parametrize(
    "event",
    ["", "[]", "{}", '{"tool_input": {"file_path": "/missing/a.py"}}', "\xff"],
    ids=lambda event: event or "empty",
)
def test_hook_never_fails_a_tool_call(event, tmp_path):
    (entry,) = HOOKS["hooks"]["PostToolUse"]
    done = run_hook(entry["hooks"][0]["command"], event, tmp_path, {"FASTAPI_PACK_DEBUG": ""})
    assert is_silent(done)
