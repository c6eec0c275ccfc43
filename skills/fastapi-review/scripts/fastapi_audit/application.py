"""Review of the app as it runs: its routes and its OpenAPI, read in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import RULES
from .ignores import ignores
from .model import AuditError, Finding, Rule
from .rules.running import DUPLICATE, SHADOWED, UNDOCUMENTED, UNPROTECTED, UNTYPED

INSPECTOR = Path(__file__).with_name("inspect_app.py")
TIMEOUT_S = 60
# They answer what every app answers; nobody reads their documentation.
UNREPORTED = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Route:
    """What inspect_app.py tells of one; see there."""

    path: str
    methods: tuple[str, ...]
    name: str
    file: str | None
    line: int
    api: bool
    websocket: bool
    regex: str | None
    sample: str
    public: bool
    protected: bool
    guarded: bool
    schemes: bool
    untyped: bool
    operation_ids: tuple[str, ...]
    documented: tuple[str, ...]
    raised: tuple[int, ...]

    @property
    def title(self) -> str:
        shown = [one for one in self.methods if one not in UNREPORTED] or ["WEBSOCKET" if self.websocket else "ANY"]
        return f"{','.join(shown)} {self.path}"


def audit_app(target: str, folder: Path, python: str, selected: Collection[str]) -> list[Finding]:
    """The findings about `module:app`, imported from a folder by a Python that has its packages."""
    if not re.fullmatch(r"[\w.]+:[\w.]+(\(\))?", target):
        raise AuditError(f"--app {target}: needs module:app, such as app.main:app or app.main:create_app()")
    if not folder.is_dir():
        raise AuditError(f"--app-dir {folder}: no such folder")
    routes = [_route(row) for row in _inspected(target, folder, python)]
    if not routes:
        raise AuditError(f"--app {target}: the app has no routes")
    found = [
        Finding(Path(route.file or INSPECTOR), route.line, 1, rule.id, said)
        for rule, route, said in judged(routes)
        if rule.id in selected and route.file
    ]
    return [one for one in found if not _is_ignored(one)]


def _inspected(target: str, folder: Path, python: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as private:
        result = Path(private, "routes.json")
        command = [python, str(INSPECTOR), target, str(result), str(folder.resolve())]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
            )
        except FileNotFoundError:
            raise AuditError(f"--python {python}: no such program") from None
        except subprocess.TimeoutExpired:
            raise AuditError(f"--app {target}: importing it took more than {TIMEOUT_S} s") from None
        if not result.is_file():
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise AuditError(f"--app {target}: {python} could not look at it: {last or f'exit code {done.returncode}'}")
        told: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "error" in told:
        raise AuditError(f"--app {target}, imported from {folder}: {told['error']}")
    routes: list[dict[str, Any]] = told["routes"]
    return routes


def _route(row: dict[str, Any]) -> Route:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Route(**values)


def judged(routes: list[Route]) -> Iterator[tuple[Rule, Route, str]]:
    """Each fault with its route and what is said of it."""
    for place, route in enumerate(routes):
        if not route.api:
            continue
        if not (route.protected or route.public or route.guarded):
            yield UNPROTECTED, route, f"{route.title} asks nobody who they are"
        if earlier := next((one for one in routes[:place] if _takes_all(one, route)), None):
            yield SHADOWED, route, f"{route.title} is never reached: {earlier.title} comes first"
        if route.untyped:
            yield UNTYPED, route, f"{route.title} declares no response model"
        if missing := _undocumented(route):
            yield UNDOCUMENTED, route, f"{route.title} does not document {', '.join(map(str, missing))}"
    yield from _duplicates(routes)


def _takes_all(earlier: Route, later: Route) -> bool:
    """Whether an earlier route matches all that a later one is for."""
    if earlier.websocket != later.websocket or earlier.regex is None:
        return False
    methods = set(later.methods) - UNREPORTED
    if earlier.methods and not methods <= set(earlier.methods):
        return False
    return re.match(earlier.regex, later.sample) is not None


def _undocumented(route: Route) -> list[int]:
    if not route.operation_ids or "DEFAULT" in route.documented:
        return []
    expected = set(route.raised) | ({401} if route.schemes else set())
    return sorted(
        one for one in expected if str(one) not in route.documented and f"{one // 100}XX" not in route.documented
    )


def _duplicates(routes: list[Route]) -> Iterator[tuple[Rule, Route, str]]:
    users: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        for one in route.operation_ids:
            users[one].append(route)
    for name, using in users.items():
        for route in using[1:]:
            yield DUPLICATE, route, f"{route.title} has the operation id `{name}` of {using[0].title}"


def _is_ignored(finding: Finding) -> bool:
    """Whether a comment stands at the function: on a decorator's line, on that of `def`, or above."""
    try:
        text = finding.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    lines = text.splitlines()
    last = finding.line
    while last < len(lines) and not lines[last - 1].lstrip().startswith(("def ", "async def ")):
        last += 1
    comments = ignores(text, RULES)
    return any(one.covers(finding.rule, place, place) for one in comments for place in range(finding.line, last + 1))
