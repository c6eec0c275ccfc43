"""A folder under evals/tasks/ -> Task. Refuses what it does not understand wholly, with the place and the mend."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .model import Check, Kind, Limits, Mutant, Task

TASKS = Path(__file__).resolve().parents[1] / "tasks"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)]
Model = TypeVar("Model", bound=BaseModel)
Line = Annotated[str, Field(min_length=1, max_length=300)]
# A folder's name, never a path: results and databases are called by it.
FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]*")
PLACEHOLDER = re.compile(r"\{\w*\}")
PLACEHOLDERS = ("{secret}", "{data}")
# What the proof calls the two other known answers of a task.
RESERVED = frozenset({"idle", "solution"})


class TaskError(ValueError):
    """A task folder that can't be used. One problem a line: file, place, what is wrong, what to do."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Check(_Strict):
    kind: Kind
    proves: Line
    cwe: Annotated[int, Field(gt=0)] | None = None


class _TaskFile(_Strict):
    title: Line
    difficulty: Literal["easy", "medium", "hard"]
    exercises: list[str] = []
    time_limit_s: Annotated[float, Field(gt=0, le=600)] = 90.0
    start_limit_s: Annotated[float, Field(gt=0, le=120)] = 30.0
    memory_limit_mb: Annotated[int, Field(ge=128)] = 1024
    process_limit: Annotated[int, Field(ge=4)] = 64
    services: list[Literal["postgres"]] = ["postgres"]
    environment: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], str] = {}
    checks: Annotated[dict[Name, _Check], Field(min_length=1)]


class _Mutant(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    file: str
    find: Annotated[str, Field(min_length=1)]
    replace: str
    caught_by: Annotated[list[Name], Field(min_length=1)]


class _MutantsFile(_Strict):
    mutants: list[_Mutant]


class _Loader(yaml.SafeLoader):
    """YAML, but a key that stands twice is an error: the first one would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if any(key.value == earlier.value for earlier in keys[:index]):
                problem = f"{key.value} stands here for the second time"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def names(root: Path | None = None) -> list[str]:
    """The tasks there are, finished or not. Raises TaskError where there is none: nothing to run is no success."""
    root = root or TASKS
    found = sorted(path.name for path in root.glob("*") if path.is_dir() and FOLDER.fullmatch(path.name))
    if not found:
        raise TaskError([f"{root}: holds no task; a task is a folder with task.yaml"])
    return found


def load(name: str, root: Path | None = None) -> Task:
    """Read one task. Raises TaskError with every problem that was found."""
    folder = (root or TASKS) / name
    if not FOLDER.fullmatch(name) or not folder.is_dir():
        raise TaskError([f"{name}: there is no such task; there are: {', '.join(names(root))}"])
    problems = list(_missing(folder))
    if problems:
        raise TaskError(problems)
    file = _parsed(folder / "task.yaml", _TaskFile)
    listed = _parsed(folder / "mutants.yaml", _MutantsFile, wrap="mutants").mutants
    checks = tuple(Check(key, value.kind, value.proves, value.cwe) for key, value in file.checks.items())
    mutants = tuple(Mutant(m.name, m.file, m.find, m.replace, frozenset(m.caught_by)) for m in listed)
    problems = [
        *_environment_fits(folder, file.environment),
        *_checks_agree(folder, checks),
        *_mutants_fit(folder, checks, mutants),
    ]
    if problems:
        raise TaskError(problems)
    return Task(
        name=name,
        folder=folder,
        title=file.title,
        difficulty=file.difficulty,
        exercises=tuple(file.exercises),
        instruction=(folder / "instruction.md").read_text(encoding="utf-8"),
        limits=Limits(file.start_limit_s, file.time_limit_s, file.memory_limit_mb, file.process_limit),
        services=tuple(file.services),
        environment=file.environment,
        checks=checks,
        mutants=mutants,
    )


def _missing(folder: Path) -> Iterator[str]:
    for name in ("task.yaml", "instruction.md", "mutants.yaml"):
        if not (folder / name).is_file():
            yield f"{folder.name}/{name}: is missing; add the file"
        elif (text := _text(folder / name)) is None:
            yield f"{folder.name}/{name}: is not UTF-8; save it as that"
        elif not text.strip():
            yield f"{folder.name}/{name}: is empty; fill it in"
    for name, pattern in (("starter", None), ("checks", "**/test_*.py"), ("solution", "*")):
        if not (folder / name).is_dir():
            yield f"{folder.name}/{name}: is missing; add the folder"
        elif pattern and not any((folder / name).glob(pattern)):
            yield f"{folder.name}/{name}: is empty; add {'test files' if name == 'checks' else 'the right answer'}"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def _parsed(path: Path, model: type[Model], wrap: str | None = None) -> Model:
    place = f"{path.parent.name}/{path.name}"
    try:
        raw: Any = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = " ".join(str(getattr(error, "problem", error)).split())
        raise TaskError([f"{place}{line}: can't be read ({what}); mend the line"]) from None
    try:
        return model.model_validate({wrap: raw} if wrap else raw)
    except ValidationError as error:
        raise TaskError(f"{place}: {_field(e['loc'])}: {e['msg']}{_mend(e)}" for e in error.errors()) from None


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the whole file"


def _mend(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "; remove it, or mend its spelling"
    if error["type"] == "missing":
        return "; add it"
    if error["type"] == "model_type":
        return "; write it as keys with values"
    return f" (is {str(error['input'])[:60]!r})"


def _environment_fits(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        for found in PLACEHOLDER.findall(value):
            if found not in PLACEHOLDERS:
                place = f"{folder.name}/task.yaml: environment.{name}"
                yield f"{place}: {found} is not known; use {' or '.join(PLACEHOLDERS)}"


def _checks_agree(folder: Path, checks: tuple[Check, ...]) -> Iterator[str]:
    """The test functions and task.yaml name the same checks, each once."""
    found: Counter[str] = Counter()
    broken = False
    for path in sorted((folder / "checks").glob("**/test_*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError as error:
            line = f", line {error.lineno}" if error.lineno else ""
            yield f"{folder.name}/checks/{path.name}{line}: does not parse ({error.msg}); mend it"
            broken = True
            continue
        found.update(
            node.name.removeprefix("test_")
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        )
    if broken:  # what else is missing can't be told
        return
    declared = {check.name for check in checks}
    for name in sorted(declared - set(found)):
        yield f"{folder.name}/task.yaml: checks.{name}: there is no test_{name} under checks/; write it or remove it"
    for name, count in sorted(found.items()):
        if name not in declared:
            yield f"{folder.name}/checks: test_{name} is not in task.yaml; declare it under checks"
        elif count > 1:
            yield f"{folder.name}/checks: test_{name} is defined {count} times; a check has one function"


def _mutants_fit(folder: Path, checks: tuple[Check, ...], mutants: tuple[Mutant, ...]) -> Iterator[str]:
    declared = {check.name for check in checks}
    for name, count in Counter(mutant.name for mutant in mutants).items():
        if count > 1:
            yield f"{folder.name}/mutants.yaml: {name}: {count} mutants have this name; rename them"
    for mutant in mutants:
        place = f"{folder.name}/mutants.yaml: {mutant.name}"
        if mutant.name in RESERVED:
            yield f"{place}: the name is taken by a known answer of every task; rename it"
        yield from (
            f"{place}: caught_by names {check!r}, which is no check of task.yaml; mend the name"
            for check in sorted(mutant.caught_by - declared)
        )
        path = folder / "solution" / mutant.file
        inside = not Path(mutant.file).is_absolute() and ".." not in Path(mutant.file).parts
        text = _text(path) if inside and path.is_file() else None
        if text is None:
            yield f"{place}: there is no solution/{mutant.file} with text; mend the path"
            continue
        count = text.count(mutant.find)
        if count != 1:
            yield f"{place}: find occurs {count} times in solution/{mutant.file}; it must occur exactly once"
        elif mutant.find == mutant.replace:
            yield f"{place}: replace equals find, so nothing is changed; write the fault"


def without_mutant(task: Task) -> list[str]:
    """Checks that no mutant names: nothing shows that they can fail."""
    named = frozenset().union(*(mutant.caught_by for mutant in task.mutants))
    return [check.name for check in task.checks if check.name not in named]
