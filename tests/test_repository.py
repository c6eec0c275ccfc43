"""Rules about the repository itself. Each is a function that is also shown a bad example and an empty folder."""

import ast
import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny import TASK, write_tiny_task

from harness import tasks

ROOT = Path(__file__).resolve().parents[1]
# What is made on a machine and never shipped. Other names that begin with a dot are tools' own.
MADE = {"__pycache__", "htmlcov", "results", "node_modules"}
SHOWN = {".claude", ".claude-plugin", ".ci", ".github"}
CHARACTERS_PER_TOKEN = 3.5
INSTRUCTIONS = {
    "crud-sqlalchemy": "c71a3a4d4ce873c67983bf0d7cbb8a37336c5137b60301c62011791657502394",
    "file-sharing": "dc8e6b0d60cbf9662cf1b06720294c0bce90c1894b265e8ba6ff72250d45d0a7",
    "jwt-auth": "00b28dad07bc45fca00d7165d253815f06ab4c282417faae21f486318ced1c39",
}
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
# A home folder other than the one inside the sandbox, or a place that only one machine has.
MACHINE = re.compile(r"(?<![\w.~])/(?:root|work|Users|mnt|home/(?!dev\b)[a-z]\w*)/\w[\w./-]*")


def texts(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text file of the repository with its content."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name in SHOWN or not (name in MADE or name[0] == "." or name.endswith(".egg-info"))
        )
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or name.startswith(".coverage"):
                continue
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN


def description(path: Path) -> str:
    """The description of an agent or skill: what every session loads."""
    return str(yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])["description"])


# ---------------------------------------------------------------------- the rules


def modules_have_a_test_of_their_name(root: Path) -> Iterator[str]:
    harness = root / "evals" / "harness"
    modules = [path for path in sorted(harness.rglob("*.py")) if path.name != "__init__.py"]
    pairs = [(path, root / "tests" / "harness" / path.relative_to(harness)) for path in modules]
    pairs += [(path, root / "tests" / "scripts" / path.name) for path in sorted((root / "scripts").glob("*.py"))]
    if not modules:
        yield "there are no modules under evals/harness"
    for path, mirrored in pairs:
        expected = mirrored.with_name(f"test_{mirrored.name}").relative_to(root)
        if not (root / expected).is_file():
            yield f"{path.relative_to(root)}: has no {expected}"


def links_lead_somewhere(root: Path) -> Iterator[str]:
    found = [(path, content) for path, content in texts(root) if path.suffix == ".md"]
    if not found:
        yield "there is no Markdown"
    for path, content in found:
        for match in LINK.finditer(CODE.sub("", content)):
            target, _, anchor = (match.group(1) or match.group(2)).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            place = (path.parent / target) if target else path
            if not place.exists():
                yield f"{path.relative_to(root)}: links to {target}, which is not there"
            elif anchor and anchor not in anchors(place):
                yield f"{path.relative_to(root)}: links to {target}#{anchor}, a heading that is not there"


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+\s+(.*?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def the_version_is_written_once(root: Path) -> Iterator[str]:
    manifest = root / ".claude-plugin" / "plugin.json"
    if not manifest.is_file():
        yield "there is no .claude-plugin/plugin.json"
        return
    version = json.loads(manifest.read_text())["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f".claude-plugin/plugin.json: {version} is no version of three numbers"
    released = re.findall(r"^## \[(\d[^\]]*)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if released[:1] != [version]:
        yield f"CHANGELOG.md: its newest version is {released[:1]}, the plugin's is {version}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    if "version" in project or "version" not in project.get("dynamic", ()):
        yield "pyproject.toml: project.version must be dynamic"
    written = re.compile(rf"(?<![\w.]){re.escape(version)}(?![\w.]*\d)")
    for path, content in texts(root):
        place = path.relative_to(root).as_posix()
        if path == manifest or place in ("CHANGELOG.md", "uv.lock") or place.startswith("evals/tasks/"):
            continue
        for number, line in enumerate(content.splitlines(), 1):
            if written.search(line):
                yield f"{place}, line {number}: repeats the version"


def no_path_of_a_machine(root: Path) -> Iterator[str]:
    found = list(texts(root))
    if not found:
        yield "there are no files"
    for path, content in found:
        for number, line in enumerate(content.splitlines(), 1):
            if match := MACHINE.search(line):
                yield f"{path.relative_to(root)}, line {number}: {match.group()}"


def tasks_load(root: Path) -> Iterator[str]:
    """Each task is whole, and exercises skills that there are."""
    folder = root / "evals" / "tasks"
    try:
        names = tasks.names(folder)
    except tasks.TaskError as error:
        yield str(error)
        return
    skills = {path.parent.name for path in root.glob("skills/*/SKILL.md")}
    for name in names:
        try:
            task = tasks.load(name, folder)
        except tasks.TaskError as error:
            yield from error.problems
            continue
        yield from (f"{name}: exercises {one}, which is no skill" for one in task.exercises if one not in skills)
        yield from (f"{name}: no mutant is caught by {check}" for check in tasks.without_mutant(task))


def checks_import_little(root: Path) -> Iterator[str]:
    """Checks need httpx, pytest and the standard library, so that they run wherever a service can be reached."""
    found = sorted(root.glob("evals/tasks/*/checks/**/*.py"))
    if not found:
        yield "there are no checks"
    for path in found:
        allowed = sys.stdlib_module_names | {"httpx", "pytest"} | {one.stem for one in path.parent.glob("*.py")}
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                if name.partition(".")[0] not in allowed and name != "harness.kit":
                    yield f"{path.relative_to(root)}, line {node.lineno}: imports {name}"


def texts_fit(root: Path) -> Iterator[str]:
    """The limits of what a session loads: always, when the agent is called, when a skill is used."""
    agents, skills = sorted(root.glob("agents/*.md")), sorted(root.glob("skills/*/SKILL.md"))
    if not agents or not skills:
        yield "there is no agent or no skill"
    always = 0.0
    for path, limit in [*((path, 1500) for path in agents), *((path, 2500) for path in skills)]:
        place, size = path.relative_to(root), tokens(path.read_text(encoding="utf-8"))
        told = description(path)
        always += tokens(told)
        if size > limit:
            yield f"{place}: has {size:.0f} tokens, more than {limit}"
        if len(told) > 1000:
            yield f"{place}: its description has {len(told)} characters, more than 1000"
    if always > 500:
        yield f"all descriptions together have {always:.0f} tokens, more than 500"


def instructions_are_unchanged(root: Path) -> Iterator[str]:
    for name, expected in INSTRUCTIONS.items():
        path = root / "evals" / "tasks" / name / "instruction.md"
        if not path.is_file():
            yield f"{name}: has no instruction.md"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            yield f"{name}: instruction.md was changed, so results no longer compare"


RULES = (
    modules_have_a_test_of_their_name,
    links_lead_somewhere,
    the_version_is_written_once,
    no_path_of_a_machine,
    tasks_load,
    checks_import_little,
    texts_fit,
    instructions_are_unchanged,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule):
    assert list(rule(ROOT)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_refuses_an_empty_folder(rule, tmp_path):
    assert list(rule(tmp_path))


# ---------------------------------------------------------------------- bad examples

PLUGIN = {
    ".claude-plugin/plugin.json": '{"name": "x", "version": "9.8.7"}\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [9.8.7] - 2026-01-01\n",
    "pyproject.toml": '[project]\nname = "x"\ndynamic = ["version"]\n',
}
AGENT = "---\nname: x\ndescription: {}\n---\n{}\n"
HOME = "/".join(["", "ro" + "ot", "work.txt"])
KEPT = {"agents/x.md": AGENT.format("d", "b"), "skills/x/SKILL.md": AGENT.format("d", "b")}


def write(root: Path, files: dict[str, str]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("rule", "files", "problem"),
    [
        (
            modules_have_a_test_of_their_name,
            {"evals/harness/__init__.py": "", "evals/harness/a.py": "", "tests/harness/test_a.py": "",
             "evals/harness/agents/b.py": "", "tests/harness/test_b.py": ""},
            "evals/harness/agents/b.py: has no tests/harness/agents/test_b.py",
        ),
        (
            modules_have_a_test_of_their_name,
            {"evals/harness/a.py": "", "tests/harness/test_a.py": "", "scripts/install.py": ""},
            "scripts/install.py: has no tests/scripts/test_install.py",
        ),
        (
            links_lead_somewhere,
            {"README.md": "[a](b.md) [c](https://x.y/z) `[x](y.md)`\n```\n[d](e.md)\n```\n"},
            "README.md: links to b.md, which is not there",
        ),
        (
            links_lead_somewhere,
            {"README.md": "[a](#two-words) [b](docs/c.md#other)\n## Two words!\n", "docs/c.md": "# One\n"},
            "README.md: links to docs/c.md#other, a heading that is not there",
        ),
        (links_lead_somewhere, {"README.md": "[a]: gone.md\n"}, "README.md: links to gone.md, which is not there"),
        (the_version_is_written_once, PLUGIN | {"README.md": "v\n9.8.7.\n"}, "README.md, line 2: repeats the version"),
        (
            the_version_is_written_once,
            PLUGIN | {"CHANGELOG.md": "## [9.8.6]\n\n## [9.8.7]\n"},
            "CHANGELOG.md: its newest version is ['9.8.6'], the plugin's is 9.8.7",
        ),
        (
            the_version_is_written_once,
            PLUGIN | {"pyproject.toml": '[project]\nname = "x"\nversion = "1.0"\n'},
            "pyproject.toml: project.version must be dynamic",
        ),
        (
            the_version_is_written_once,
            {name: content.replace("9.8.7", "9.8") for name, content in PLUGIN.items()},
            ".claude-plugin/plugin.json: 9.8 is no version of three numbers",
        ),
        (no_path_of_a_machine, {"a.py": f"x\n'{HOME}'\n", "b.sh": "ls /home/dev/x\n"}, f"a.py, line 2: {HOME}"),
        (
            tasks_load,
            {"evals/tasks/half/instruction.md": "Build\n", "skills/fastapi-database/SKILL.md": ""},
            ["half/task.yaml: is missing; add the file", "half/mutants.yaml: is missing; add the file",
             *(f"half/{name}: is missing; add the folder" for name in ("starter", "checks", "solution"))],
        ),
        (
            checks_import_little,
            {"evals/tasks/x/checks/test_a.py": "import json, httpx\nfrom api import x\nfrom sqlalchemy import text\n",
             "evals/tasks/x/checks/api.py": "from . import other\n"},
            "evals/tasks/x/checks/test_a.py, line 3: imports sqlalchemy",
        ),
        (
            texts_fit,
            KEPT | {"agents/x.md": AGENT.format("d", "b" * 5300)},
            "agents/x.md: has 1523 tokens, more than 1500",
        ),
        (
            texts_fit,
            KEPT | {"skills/x/SKILL.md": AGENT.format("d", "b" * 8800)},
            "skills/x/SKILL.md: has 2523 tokens, more than 2500",
        ),
        (
            texts_fit,
            KEPT | {"agents/x.md": AGENT.format("d" * 1001, "b")},
            "agents/x.md: its description has 1001 characters, more than 1000",
        ),
        (
            texts_fit,
            KEPT | {f"skills/{name}/SKILL.md": AGENT.format("d" * 900, "b") for name in "yz"},
            "all descriptions together have 515 tokens, more than 500",
        ),
        (
            instructions_are_unchanged,
            {f"evals/tasks/{name}/instruction.md": "Build it\n" for name in INSTRUCTIONS},
            [f"{name}: instruction.md was changed, so results no longer compare" for name in INSTRUCTIONS],
        ),
    ],
)  # fmt: skip
def test_a_rule_rejects_a_bad_example(rule, files, problem, tmp_path):
    assert list(rule(write(tmp_path, files))) == ([problem] if isinstance(problem, str) else problem)


def test_a_task_may_only_exercise_skills_that_there_are(tmp_path):
    write_tiny_task(tmp_path / "evals" / "tasks", **{"mutants.yaml": "[]"})
    found = list(tasks_load(tmp_path))
    assert found[0] == "tiny: exercises fastapi-database, which is no skill"
    assert found[1:] == [f"tiny: no mutant is caught by {name}" for name in yaml.safe_load(TASK)["checks"]]


def test_files_that_machines_make_are_not_looked_at(tmp_path):
    files = {".venv/a.md": "x", "evals/results/r/a.md": "x", "x.egg-info/a.md": "x", ".ci/run": "x", ".gitignore": "x"}
    (write(tmp_path, files) / "picture.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "link.md").symlink_to("nowhere.md")
    assert [path.relative_to(tmp_path).as_posix() for path, _ in texts(tmp_path)] == [".gitignore", ".ci/run"]
