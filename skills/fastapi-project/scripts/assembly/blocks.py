"""Which blocks there are, what each needs, and the choice that they make together."""

import ast
import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

# The blocks that make an app; the rest of one follows from their imports.
APP = "main"


class AssemblyError(Exception):
    """Wrong use or a broken block: one line that names the place and the mend."""


@dataclass(frozen=True)
class Source:
    """What the syntax tree of a module tells."""

    text: str
    about: str
    siblings: Mapping[str, frozenset[str]]  # module -> the names that are imported from it
    packages: frozenset[str]
    defined: frozenset[str]
    settings: Mapping[str, tuple[str, ...]]  # class -> its fields without a default
    router: bool


@dataclass(frozen=True)
class Middleware:
    """`add` is a statement; `outside` names the middleware that it comes to stand around."""

    add: str
    outside: str


@dataclass(frozen=True)
class Declared:
    """What a block's imports can't show. CONTRIBUTING.md describes each."""

    needs: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    dev_requirements: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    during: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    middleware: tuple[Middleware, ...] = ()
    cors_allow: tuple[str, ...] = ()
    cors_expose: tuple[str, ...] = ()
    body_limit: tuple[str, ...] = ()
    edits: tuple[tuple[str, str], ...] = ()
    test_imports: tuple[str, ...] = ()
    test_settings: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    instead: tuple[tuple[str, str], ...] = ()  # (a block that is chosen too, the file to take then)


@dataclass(frozen=True)
class Block:
    name: str
    skill: str
    folder: Path
    source: Source
    declared: Declared = Declared()
    instead: Mapping[str, Source] = field(default_factory=dict)
    is_module: bool = True  # else it is nothing but the files that it declares


@dataclass(frozen=True)
class Library:
    """All blocks that are at hand, and the names for several at once."""

    blocks: Mapping[str, Block]
    names: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, str | None]  # top-level module -> requirement, or None where another package brings it
    project: Path  # where pyproject.toml and tests/conftest.py stand


NOTHING = Source("", "", {}, frozenset(), frozenset(), {}, router=False)


def read_source(text: str, path: Path) -> Source:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise AssemblyError(f"{path}, line {error.lineno}: {error.msg}") from None
    siblings: dict[str, set[str]] = {}
    packages: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            taken = {alias.name for alias in node.names}
            if node.module:
                siblings.setdefault(node.module, set()).update(taken)
            else:
                for module in taken:
                    siblings.setdefault(module, set())
    about = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Source(
        text,
        about,
        {module: frozenset(taken) for module, taken in siblings.items()},
        frozenset(packages - sys.stdlib_module_names),
        frozenset(_defined(tree)),
        {
            node.name: tuple(_required(node))
            for node in tree.body
            if isinstance(node, ast.ClassDef) and _extends_settings(node)
        },
        any(_is_router(node) for node in tree.body),
    )


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


def _extends_settings(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases)


def _required(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = statement.value
            if value is None or (isinstance(value, ast.Call) and _is_without_default(value)):
                yield statement.target.id


def _is_without_default(call: ast.Call) -> bool:
    return not call.args and not {word.arg for word in call.keywords} & {"default", "default_factory"}


def _is_router(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    value = getattr(node, "value", None)
    return (
        any(isinstance(target, ast.Name) and target.id == "router" for target in targets)
        and isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id == "APIRouter"
    )


def read_library(skills: Path) -> Library:
    """Every block under `skills`. Raises AssemblyError where two have one name, or a declaration is wrong."""
    blocks: dict[str, Block] = {}
    for path in sorted(skills.glob("*/snippets/*.py")):
        skill, name = path.parent.parent.name, path.stem
        if name in blocks:
            raise AssemblyError(f"{path}: {blocks[name].skill} has a block {name} too; rename one of them")
        blocks[name] = Block(name, skill, path.parent, read_source(path.read_text("utf-8"), path))
    if APP not in blocks:
        raise AssemblyError(f"{skills}: no skill here has the block {APP}; name the folder of the skills: --skills DIR")
    names: dict[str, tuple[str, ...]] = {}
    packages: dict[str, str | None] = {}
    for path in sorted(skills.glob("*/snippets/blocks.json")):
        table = _table(path)
        packages |= table.get("packages", {})
        for name, members in table.get("names", {}).items():
            names[name] = (*names.get(name, ()), *members)
        for name, given in table.get("blocks", {}).items():
            declared = _declared(path, name, given)
            if name not in blocks and declared.files:
                blocks[name] = _of_files(path, name, declared)
            elif name not in blocks or blocks[name].folder != path.parent:
                raise AssemblyError(f"{path}: declares {name}, but there is no {name}.py beside it")
            else:
                blocks[name] = _with_declaration(blocks[name], declared)
    for name in sorted({member for members in names.values() for member in members} - set(blocks)):
        raise AssemblyError(f"names in blocks.json: {name} is no block")
    return Library(blocks, names, packages, blocks[APP].folder)


def _table(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise AssemblyError(f"{path}: {error}") from None
    if unknown := set(table) - {"names", "packages", "blocks"}:
        raise AssemblyError(f"{path}: unknown key {min(unknown)}; known: blocks, names, packages")
    return table


def _declared(path: Path, name: str, given: Mapping[str, Any]) -> Declared:
    known = {each.name for each in fields(Declared)}
    for key in given:
        if key not in known:
            raise AssemblyError(f"{path}: {name}: unknown key {key}{_nearest(key, known)}")
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("test_settings", "instead"):
            values[key] = tuple(value.items())
        elif key == "middleware":
            values[key] = tuple(Middleware(**each) for each in value)
        elif key == "edits":
            values[key] = tuple((each["find"], each["replace"]) for each in value)
        else:
            values[key] = tuple(value)
    return Declared(**values)


def _of_files(path: Path, name: str, declared: Declared) -> Block:
    """A block without a module in the package; what it is, its first file says."""
    first = path.parent / declared.files[0]
    about = read_source(first.read_text("utf-8"), first).about
    return Block(name, path.parent.parent.name, path.parent, replace(NOTHING, about=about), declared, is_module=False)


def _with_declaration(block: Block, declared: Declared) -> Block:
    instead = {}
    for trigger, file in declared.instead:
        path = block.folder / file
        instead[trigger] = read_source(path.read_text("utf-8"), path)
    return replace(block, declared=declared, instead=instead)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""


@dataclass(frozen=True)
class Choice:
    """The blocks of one app, each with the source that fits the others."""

    blocks: Mapping[str, Block]
    sources: Mapping[str, Source]


def expand(library: Library, wanted: Iterable[str]) -> list[str]:
    """The blocks that are named, by themselves or by a name for several. Raises AssemblyError for an unknown one."""
    found: list[str] = []
    for given in wanted:
        name = given.strip().replace("-", "_")
        members = library.names.get(name) or ((name,) if name in library.blocks else ())
        if not members:
            nearest = _nearest(name, {*library.blocks, *library.names})
            raise AssemblyError(f"no block is called {given!r}{nearest or '; --list shows all'}")
        found += members
    return found


def needed(library: Library, wanted: Iterable[str]) -> Choice:
    """`wanted` and everything that they need."""
    chosen: set[str] = set()
    waiting = set(wanted)
    while waiting:
        chosen |= waiting
        sources = choose(library, chosen).sources
        waiting = {need for name in chosen for need in _needs(library, name, sources[name])} - chosen
    # A source that was taken at first may have needed more than the one that took its place.
    chosen = _reached(library, set(wanted), choose(library, chosen).sources)
    return choose(library, chosen)


def _reached(library: Library, wanted: set[str], sources: Mapping[str, Source]) -> set[str]:
    reached: set[str] = set()
    waiting = set(wanted)
    while waiting:
        reached |= waiting
        waiting = {need for name in waiting for need in _needs(library, name, sources[name])} - reached
    return reached


def _needs(library: Library, name: str, source: Source) -> set[str]:
    needs = {*source.siblings, *library.blocks[name].declared.needs}
    for missing in sorted(needs - set(library.blocks)):
        raise AssemblyError(f"{library.blocks[name].folder / name}.py: needs {missing}, which is no block of any skill")
    return needs


def choose(library: Library, names: Iterable[str]) -> Choice:
    """These blocks and no others."""
    blocks = {name: library.blocks[name] for name in sorted(names)}
    sources = {}
    for name, block in blocks.items():
        triggered = [source for trigger, source in block.instead.items() if trigger in blocks]
        sources[name] = triggered[0] if triggered else block.source
    return Choice(blocks, sources)
