"""What the pack costs: its programs in seconds, its texts in tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import validate
from benchmarks import measure
from benchmarks.measure import ROOT
from harness import sandbox

LINES = 20_000


def _run(*command: str | Path, given: str = "", where: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], input=given, text=True, check=True, capture_output=True, cwd=where)


def _copies(folder: Path) -> int:
    """Code of known answers under `folder`, until there are `LINES` lines of it."""
    parts = sorted((ROOT / "evals" / "tasks").glob("*/solution/app/*.py"))
    if not parts:
        raise RuntimeError(f"{ROOT / 'evals' / 'tasks'} has no solution to review")
    lines = 0
    while lines < LINES:
        for path in parts:
            text = path.read_text()
            copy = folder / f"{path.parents[2].name.replace('-', '_')}{lines}" / path.name
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(text)
            lines += text.count("\n")
    return lines


def audit() -> None:
    """The review of a large code base, beside ruff's on the same one: seconds on the clock and of CPU."""
    program = ROOT / "skills" / "fastapi-review" / "scripts" / "audit.py"
    ours = [sys.executable, program, "."]
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--isolated", "--no-cache", "--exit-zero", "."]
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        lines = _copies(folder)
        seconds, cpu, other = (
            measure.usual(how, lambda command=command: _run(*command, where=folder))  # type: ignore[misc]
            for how, command in ((measure.wall, ours), (measure.cost, ours), (measure.cost, ruff))
        )
    print(f"audit.py, {lines} lines: {seconds:.2f} s, {cpu:.2f} CPU s; ruff check: {other:.2f} CPU s "
          "(goal: at most 1 s)")  # fmt: skip


def hook() -> None:
    """The hook on a file of usual size, beside Python that does nothing."""
    source = ROOT / "skills" / "fastapi-auth" / "snippets" / "auth_routes.py"
    program = ROOT / "skills" / "fastapi-review" / "scripts" / "hook.py"
    with TemporaryDirectory(prefix="bench-") as name:
        (Path(name) / source.name).write_text(source.read_text())
        event = json.dumps({"cwd": name, "tool_input": {"file_path": source.name}})
        bare = measure.usual(measure.wall, lambda: _run(sys.executable, "-S", "-c", "pass"))
        ours = measure.usual(measure.wall, lambda: _run(sys.executable, "-S", program, given=event))
    print(f"hook after a write: {ours * 1000:.0f} ms; Python alone: {bare * 1000:.0f} ms; "
          f"the hook adds {(ours - bare) * 1000:.0f} ms (goal: at most 150)")  # fmt: skip


def assemble() -> None:
    """From an empty folder to an app with accounts, migrations and uploads; then the tests that came with it."""
    program = ROOT / "skills" / "fastapi-project" / "scripts" / "assemble.py"
    python = sandbox.SERVICE_ENVIRONMENT / "bin" / "python"
    with TemporaryDirectory(prefix="bench-") as name:
        places = iter(range(measure.ROUNDS))
        command: list[str | Path] = [python, program, "--with", "auth,uploads,migrations"]
        seconds = measure.usual(measure.wall, lambda: _run(*command, Path(name) / str(next(places)) / "app"))
        tests = measure.wall(lambda: _run(python, "-m", "pytest", "-q", where=Path(name) / "0"))
    print(f"assemble.py --with auth,uploads,migrations: {seconds:.2f} s (goal: at most 3); its tests: {tests:.1f} s")


def sizes(pack: validate.Pack) -> Iterator[tuple[str, float]]:
    """What a session loads, each with its tokens (characters / 3.5, as `scripts/validate.py` counts)."""
    for home in pack.homes:
        texts = [*home.agents, *home.skills]
        told = (f"{doc.name}: {doc.meta.get('description', '')}" for doc in texts)
        yield "always loaded", sum(map(validate.tokens, told))
        yield from ((doc.name, validate.tokens(doc.text)) for doc in texts)


def tokens() -> None:
    """Of all that is loaded, beside FastAPI's own skill, which is in its wheel."""
    official = sandbox.SERVICE_ENVIRONMENT.glob("lib/python*/site-packages/fastapi/.agents/skills/fastapi/SKILL.md")
    counted = [*sizes(validate.read_pack(ROOT, validate.Limits()))]
    counted += [("FastAPI's own skill", validate.tokens(path.read_text())) for path in official]
    print("tokens (goals: 500 always loaded, 1500 the agent, 2500 a skill)")
    for name, size in counted:
        print(f"  {name:26} {size:5.0f}")
