"""What the code uses: syntax trees, with names traced to the packages that they come from."""

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .installed import UpgradeError

SKIPPED = {"node_modules", "site-packages", "__pycache__", "build", "dist", "venv"}
MODEL = "pydantic.BaseModel"
MODELS = {MODEL, "pydantic.RootModel", "pydantic_settings.BaseSettings", "pydantic.BaseSettings"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file. `names` maps what it imports to dotted names: `status` -> `fastapi.status`."""

    path: Path
    lines: tuple[str, ...]
    tree: ast.Module
    names: Mapping[str, str]

    def is_ignored(self, line: int, rule: str) -> bool:
        found = re.search(r"# upgrade: ignore\[([\w, -]+)\]", self.lines[line - 1] if line <= len(self.lines) else "")
        return found is not None and rule in re.split(r"[, ]+", found[1])


@dataclass
class Code:
    """All files, and what they define for each other: (module's last name, name) -> what it is an instance of."""

    modules: list[Module]
    instances: dict[tuple[str, str], str] = field(default_factory=dict)
    models: set[tuple[str, str]] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Seen:
    """A node, and what the variables around it are."""

    node: ast.AST
    variables: Mapping[str, str]
    module: Module
    code: Code

    def name(self, node: ast.AST | None) -> str:
        """The dotted name of an expression: `fastapi.FastAPI().get` for a method of an app; "" where it is unknown."""
        if isinstance(node, ast.Name):
            return self.variables.get(node.id) or self.module.names.get(node.id, "")
        if isinstance(node, ast.Attribute):
            value = self.name(node.value)
            return f"{value}.{node.attr}" if value else ""
        if isinstance(node, ast.Call):
            called = self.name(node.func)
            return f"{called}()" if called else ""
        if isinstance(node, ast.Subscript):
            return self.name(node.value)
        return ""


def read_code(paths: Iterable[Path]) -> Code:
    """The Python files below `paths`. Raises UpgradeError where there are none, or one can't be read."""
    given = list(paths)
    files = [file for path in given for file in _files(path)]
    if not files:
        raise UpgradeError(f"{', '.join(map(str, given))}: there is no Python file; name the folder of the code")
    code = Code([_read(file) for file in files])
    _relate(code)
    return code


def _files(path: Path) -> Iterator[Path]:
    if not path.exists():
        raise UpgradeError(f"{path}: there is no such file or folder")
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and name not in SKIPPED and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _read(path: Path) -> Module:
    try:
        text = path.read_text("utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError, OSError) as error:
        raise UpgradeError(f"{path}: can't be read as Python: {error}") from None
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    return Module(path, tuple(text.splitlines()), tree, names)


def _relate(code: Code) -> None:
    """Fill in what the modules define for each other: apps and routers, and the classes of models."""
    for module in code.modules:
        code.imported |= {name.partition(".")[0] for name in module.names.values()}
        for name, kind in _assigned(module.tree.body, Seen(module.tree, {}, module, code)).items():
            code.instances[module.path.stem, name] = kind
    known = -1
    # Until no class is added: a model may derive from one in a file that is read later.
    while known != len(code.models):
        known = len(code.models)
        for module in code.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef) and any(is_model(base, module, code) for base in node.bases):
                    code.models.add((module.path.stem, node.name))


def is_model(node: ast.AST, module: Module, code: Code) -> bool:
    """Whether an expression names a class that derives from Pydantic's BaseModel."""
    if isinstance(node, ast.Subscript):
        node = node.value
    name = Seen(node, {}, module, code).name(node)
    if name in MODELS:
        return True
    if isinstance(node, ast.Name) and not name:
        return (module.path.stem, node.id) in code.models
    where, _, last = name.rpartition(".")
    return (where.rpartition(".")[2], last) in code.models


def walk(module: Module, code: Code) -> Iterator[Seen]:
    """Every node of a file with what the variables of its function and of the file are."""
    start = Seen(module.tree, {}, module, code)
    variables = _imported_instances(module, code) | _assigned(module.tree.body, start)
    # A stack: generated code is nested deeper than Python recurses.
    waiting: list[tuple[ast.AST, Mapping[str, str]]] = [(module.tree, variables)]
    while waiting:
        node, inside = waiting.pop()
        seen = Seen(node, inside, module, code)
        yield seen
        if isinstance(node, Function):
            inside = {**inside, **_arguments(node, seen), **_assigned(node.body, seen)}
        waiting += [(child, inside) for child in reversed(list(ast.iter_child_nodes(node)))]


def _imported_instances(module: Module, code: Code) -> dict[str, str]:
    found = {}
    for name, origin in module.names.items():
        where, _, last = origin.rpartition(".")
        kind = code.instances.get((where.rpartition(".")[2], last))
        if kind:
            found[name] = kind
    return found


def _assigned(body: Iterable[ast.stmt], seen: Seen) -> dict[str, str]:
    """Variables that hold a new object of a known class; "" hides one of an outer scope."""
    found: dict[str, str] = {}
    for statement in _statements(body):
        targets: list[ast.expr] = []
        value: ast.expr | None = None
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign):
            targets, value = [statement.target], statement.value
        elif isinstance(statement, ast.With | ast.AsyncWith):
            for item in statement.items:
                if isinstance(item.optional_vars, ast.Name):
                    found[item.optional_vars.id] = _made(item.context_expr, seen)
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = _made(value, seen)
    return found


def _made(value: ast.expr | None, seen: Seen) -> str:
    if isinstance(value, ast.Call):
        if is_model(value.func, seen.module, seen.code):
            return f"{MODEL}()"
        return seen.name(value)
    return ""


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of one scope: not those of functions and classes inside it."""
    for statement in body:
        yield statement
        if isinstance(statement, Function | ast.ClassDef):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))
        for handler in getattr(statement, "handlers", []):
            yield from _statements(handler.body)


def _arguments(node: Function, seen: Seen) -> dict[str, str]:
    """Parameters, by their annotations: a model, or anything else."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    found = {}
    for argument in arguments:
        kind = argument.annotation
        if isinstance(kind, ast.Subscript) and seen.name(kind.value).endswith(".Annotated"):
            kind = kind.slice.elts[0] if isinstance(kind.slice, ast.Tuple) else kind.slice
        if kind is not None and is_model(kind, seen.module, seen.code):
            found[argument.arg] = f"{MODEL}()"
        else:
            name = seen.name(kind) if isinstance(kind, ast.Name | ast.Attribute) else ""
            found[argument.arg] = f"{name}()" if name else ""
    return found
