#!/usr/bin/env python3
"""Copy building blocks with all that they need into a package, and wire them into its app.

A block is a module in the `snippets` folder of a skill beside this one. What it needs is read from its relative imports;
what imports can't show stands in `snippets/blocks.json`. A new package gets a whole app with tests and a pyproject.toml.
A package that was assembled before is extended. Any other package gets the modules, and the app's wiring as a hint.

Nothing that differs from what was assembled is overwritten without --force.
"""

import argparse
import ast
import difflib
import importlib.util
import json
import keyword
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

SKILLS = Path(__file__).resolve().parents[2]
WIDTH = 120
# The blocks that make an app; the rest of one follows from their imports.
APP = "main"
APPLICATION, SETTINGS, CONFTEST, PYPROJECT = "application.py", "app_settings.py", "tests/conftest.py", "pyproject.toml"
STAGE = ".assemble-"
# A run takes a second: what is older was left by a killed one.
STAGE_DEAD_S = 60


class Problem(Exception):
    """Wrong use or a broken block: one line that names the place and the mend."""


# ---------------------------------------------------------------------- what blocks are


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


@dataclass(frozen=True)
class Library:
    """All blocks that are at hand, and the names for several at once."""

    blocks: Mapping[str, Block]
    names: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, str | None]  # top-level module -> requirement, or None where another package brings it
    project: Path  # where pyproject.toml and tests/conftest.py stand


def read_source(text: str, path: Path) -> Source:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise Problem(f"{path}, line {error.lineno}: {error.msg}") from None
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
        {node.name: tuple(_required(node)) for node in tree.body if _is_settings(node)},
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


def _is_settings(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases
    )


def _required(node: ast.AST) -> Iterator[str]:
    for statement in getattr(node, "body", ()):
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
    """Every block under `skills`. Raises Problem where two have one name, or a declaration is wrong."""
    blocks: dict[str, Block] = {}
    for path in sorted(skills.glob("*/snippets/*.py")):
        skill, name = path.parent.parent.name, path.stem
        if name in blocks:
            raise Problem(f"{path}: {blocks[name].skill} has a block {name} too; rename one of them")
        blocks[name] = Block(name, skill, path.parent, read_source(path.read_text("utf-8"), path))
    if APP not in blocks:
        raise Problem(f"{skills}: no skill here has the block {APP}; give the folder that holds the skills: --skills DIR")
    names: dict[str, tuple[str, ...]] = {}
    packages: dict[str, str | None] = {}
    for path in sorted(skills.glob("*/snippets/blocks.json")):
        table = _table(path)
        packages |= table.get("packages", {})
        for name, members in table.get("names", {}).items():
            names[name] = (*names.get(name, ()), *members)
        for name, given in table.get("blocks", {}).items():
            if name not in blocks or blocks[name].folder != path.parent:
                raise Problem(f"{path}: declares {name}, but there is no {name}.py beside it")
            blocks[name] = _with_declaration(blocks[name], _declared(path, name, given))
    for name in sorted({member for members in names.values() for member in members} - set(blocks)):
        raise Problem(f"names in blocks.json: {name} is no block")
    return Library(blocks, names, packages, blocks[APP].folder)


def _table(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise Problem(f"{path}: {error}") from None
    if unknown := set(table) - {"names", "packages", "blocks"}:
        raise Problem(f"{path}: unknown key {sorted(unknown)[0]}; known: blocks, names, packages")
    return table


def _declared(path: Path, name: str, given: Mapping[str, Any]) -> Declared:
    known = {each.name for each in fields(Declared)}
    for key in given:
        if key not in known:
            raise Problem(f"{path}: {name}: unknown key {key}{_nearest(key, known)}")
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


def _with_declaration(block: Block, declared: Declared) -> Block:
    instead = {}
    for trigger, file in declared.instead:
        path = block.folder / file
        instead[trigger] = read_source(path.read_text("utf-8"), path)
    return replace(block, declared=declared, instead=instead)


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""


# ---------------------------------------------------------------------- which blocks


@dataclass(frozen=True)
class Choice:
    """The blocks of one app, each with the source that fits the others."""

    blocks: Mapping[str, Block]
    sources: Mapping[str, Source]


def expand(library: Library, wanted: Iterable[str]) -> list[str]:
    """The blocks that are named, by themselves or by a name for several. Raises Problem for an unknown one."""
    found: list[str] = []
    for given in wanted:
        name = given.strip().replace("-", "_")
        members = library.names.get(name) or ((name,) if name in library.blocks else ())
        if not members:
            nearest = _nearest(name, {*library.blocks, *library.names})
            raise Problem(f"no block is called {given!r}{nearest or '; --list shows all'}")
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
        raise Problem(f"{library.blocks[name].folder / name}.py: needs {missing}, which is no block of any skill")
    return needs


def choose(library: Library, names: Iterable[str]) -> Choice:
    """These blocks and no others."""
    blocks = {name: library.blocks[name] for name in sorted(names)}
    sources = {}
    for name, block in blocks.items():
        triggered = [source for trigger, source in block.instead.items() if trigger in blocks]
        sources[name] = triggered[0] if triggered else block.source
    return Choice(blocks, sources)


# ---------------------------------------------------------------------- how they are wired


@dataclass(frozen=True)
class Wiring:
    """What the blocks of a choice put into the files of the app."""

    routers: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]  # (module, class): none derives from another
    required: tuple[str, ...]
    requirements: tuple[str, ...]
    parts: Declared

    @property
    def settings_class(self) -> tuple[str, str]:
        """Module and name of the class that the app makes."""
        if len(self.settings) > 1:
            return "app_settings", "AppSettings"
        return self.settings[0] if self.settings else ("settings", "Settings")


def wiring(library: Library, choice: Choice) -> Wiring:
    sources = choice.sources
    routers = tuple(name for name, source in sources.items() if source.router)
    settings = tuple(
        (name, kind) for name, source in sources.items() if name != "settings" for kind in source.settings
    )
    required = {each for source in sources.values() for kind in source.settings.values() for each in kind}
    declared = [block.declared for block in choice.blocks.values()]
    parts = Declared(
        **{
            each.name: tuple(dict.fromkeys(value for one in declared for value in getattr(one, each.name)))
            for each in fields(Declared)
        }
    )
    return Wiring(routers, settings, tuple(sorted(required)), _requirements(library, choice, parts), parts)


def _requirements(library: Library, choice: Choice, parts: Declared) -> tuple[str, ...]:
    imported = {package for source in choice.sources.values() for package in source.packages}
    lines = {library.packages.get(package, package.replace("_", "-")) for package in imported}
    return tuple(sorted({line for line in lines if line} | set(parts.requirements)))


class Unwirable(Exception):
    """A file was changed so much that the place for a part isn't found; the part is in the message."""


def wire_application(text: str, wired: Wiring) -> str:
    """`application.py` with all parts. A part that is there is left alone, so it may be done again."""
    parts = wired.parts
    for find, new in parts.edits:
        if new not in text:
            text = _replaced(text, find, new)
    imports = list(parts.imports)
    if wired.routers:
        text = _with_routers(text, wired.routers)
        imports.append(f"from . import {', '.join(wired.routers)}")
    text, more = _with_settings(text, wired.settings_class)
    text = with_imports(text, [*imports, *more])
    for line in parts.state:
        text = _after(text, r"^( *)app\.state\.settings = settings\n", line)
    for line in parts.make:
        text = _after(text, r"^( *)app\.state\.sessionmaker = .*\n", line)
    for line in parts.start:
        text = _before(text, r"^( *)await (?:prepare_schema|upgrade)\(", line)
    if parts.during:
        text = _during(text, parts.during)
    for line in parts.stop:
        text = _before(text, r"^( *)await app\.state\.engine\.dispose\(\)", line)
    for one in parts.middleware:
        text = _around(text, one)
    text = _with_listed(text, "allow_headers", parts.cors_allow)
    text = _with_listed(text, "expose_headers", parts.cors_expose)
    return _with_body_limit(text, parts.body_limit)


def _replaced(text: str, find: str, new: str) -> str:
    if text.count(find) != 1:
        raise Unwirable(f"{find.strip()} -> {new.strip()}")
    return text.replace(find, new)


def _has(text: str, line: str) -> bool:
    return any(each.strip() == line for each in text.splitlines())


def _after(text: str, pattern: str, line: str) -> str:
    """Below the line of the pattern, and below what was put there before."""
    found = re.search(pattern, text, re.MULTILINE)
    if _has(text, line):
        return text
    if not found:
        raise Unwirable(line)
    end = found.end()
    while (following := re.compile(rf"{found[1]}app\.state\.\w+ = .*\n").match(text, end)) is not None:
        end = following.end()
    return f"{text[:end]}{found[1]}{line}\n{text[end:]}"


def _before(text: str, pattern: str, line: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if _has(text, line):
        return text
    if not found:
        raise Unwirable(line)
    return f"{text[: found.start()]}{found[1]}{line}\n{text[found.start() :]}"


def _during(text: str, items: Sequence[str]) -> str:
    """Wrap the `yield` of the lifespan."""
    missing = [item for item in items if item not in text]
    if not missing:
        return text
    found = re.search(r"^( *)yield\n", text, re.MULTILINE)
    if not found:
        raise Unwirable(f"async with {', '.join(missing)}: around the lifespan's yield")
    block = listed(f"{found[1]}async with ", missing, ":", ("(", ")"))
    return f"{text[: found.start()]}{block}\n{found[1]}    yield\n{text[found.end() :]}"


def _around(text: str, one: Middleware) -> str:
    if _has(text, one.add):
        return text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _adds(node.value, one.outside):
            lines = text.splitlines(keepends=True)
            lines.insert(node.end_lineno or 0, f"{' ' * node.col_offset}{one.add}\n")
            return "".join(lines)
    raise Unwirable(one.add)


def _adds(call: ast.Call, name: str) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "add_middleware"
        and isinstance(call.args[0], ast.Name)
        and call.args[0].id == name
    )


def _with_routers(text: str, routers: Sequence[str]) -> str:
    found = re.search(r"^ROUTERS\b[^=\n]*= \(([^)]*)\)\n", text, re.MULTILINE)
    if not found:
        raise Unwirable(f"ROUTERS = ({', '.join(f'{router}.router' for router in routers)})")
    present = [each.strip() for each in found[1].split(",") if each.strip()]
    every = list(dict.fromkeys([*present, *(f"{router}.router" for router in routers)]))
    head = text[found.start() : found.start(1) - 1]
    # A tuple of one needs its comma.
    items = listed(f"{head}(", every, ",)" if len(every) == 1 else ")", ("", ""))
    return f"{text[: found.start()]}{items}\n{text[found.end() :]}"


def _with_settings(text: str, wanted: tuple[str, str]) -> tuple[str, list[str]]:
    """The class of the settings renamed everywhere, and the import for it."""
    module, kind = wanted
    found = re.search(r"\bsettings: (\w+)", text)
    if not found:
        raise Unwirable(f"from .{module} import {kind}, in place of the settings' class")
    if found[1] != kind:
        text = re.sub(rf"^from \.\w+ import {found[1]}\n", "", text, flags=re.MULTILINE)
        text = re.sub(rf"\b{found[1]}\b", kind, text)
    return text, [f"from .{module} import {kind}"]


def _with_listed(text: str, argument: str, values: Sequence[str]) -> str:
    found = re.search(rf"^( *){argument}=\[([^]]*)\],\n", text, re.MULTILINE)
    if not values:
        return text
    if not found:
        raise Unwirable(f"{argument}: {', '.join(values)}")
    present = [each.strip() for each in found[2].split(",") if each.strip()]
    every = list(dict.fromkeys([*present, *(json.dumps(value) for value in values)]))
    items = listed(f"{found[1]}{argument}=[", every, "],", ("", ""))
    return f"{text[: found.start()]}{items}\n{text[found.end() :]}"


def _with_body_limit(text: str, limits: Sequence[str]) -> str:
    """The largest of the limits: it is the whole app's, and a route may lower it."""
    missing = [limit for limit in limits if limit not in text]
    if not missing:
        return text
    found = re.search(r"^( *)app\.add_middleware\(RequestBodyLimitMiddleware, max_body_size=(.+)\)\n", text, re.MULTILINE)
    if not found:
        raise Unwirable(f"RequestBodyLimitMiddleware: max_body_size at least {', '.join(missing)}")
    limit = f"max({', '.join([found[2], *missing])})"
    lines = f"{found[1]}max_body_bytes = {limit}\n{found[0].replace(found[2], 'max_body_bytes')}"
    return f"{text[: found.start()]}{lines}{text[found.end() :]}"


def listed(head: str, items: Sequence[str], tail: str, around: tuple[str, str]) -> str:
    """Items on one line, or, where that is too long, on a line each; then `around` encloses them."""
    line = head + ", ".join(items) + tail
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(head) - len(head.lstrip()))
    rows = "".join(f"{indent}    {item},\n" for item in items)
    return f"{head}{around[0]}\n{rows}{indent}{around[1]}{tail}"


def wire_conftest(text: str, wired: Wiring) -> str:
    """The tests' `conftest.py`: the class of the settings, and values for those without a default."""
    text, more = _with_settings_fixture(text, wired.settings_class)
    text = with_imports(text, [*wired.parts.test_imports, *more])
    found = re.search(r"^( *)return (\w*Settings)\(((?:[^()]|\([^()]*(?:\([^()]*\))?[^()]*\))*)\)\n", text, re.MULTILINE)
    if not found:
        raise Unwirable(", ".join(f"{name}={value}" for name, value in wired.parts.test_settings))
    call = ast.parse(found[0].strip().removeprefix("return ")).body[0]
    given = call.value.keywords if isinstance(call, ast.Expr) and isinstance(call.value, ast.Call) else []
    present = {each.arg: ast.get_source_segment(found[0].strip().removeprefix("return "), each.value) for each in given}
    added = {name: value for name, value in wired.parts.test_settings if name not in present}
    items = [f"{name}={value}" for name, value in {**present, **added}.items()]
    block = listed(f"{found[1]}return {found[2]}(", items, ")", ("", ""))
    return f"{text[: found.start()]}{block}\n{text[found.end() :]}"


def _with_settings_fixture(text: str, wanted: tuple[str, str]) -> tuple[str, list[str]]:
    module, kind = wanted
    package = re.search(r"^from ([\w.]+)\.application import", text, re.MULTILINE)
    found = re.search(r"\bsettings: (\w+)", text)
    if not found or not package:
        raise Unwirable(f"the fixture `settings` makes {kind}")
    if found[1] != kind:
        text = re.sub(rf"^from [\w.]+ import {found[1]}\n", "", text, flags=re.MULTILINE)
        text = re.sub(rf"\b{found[1]}\b", kind, text)
    return text, [f"from {package[1]}.{module} import {kind}"]


def app_settings(wired: Wiring) -> str:
    """One class of all the blocks' settings."""
    lines = ['"""All settings of this service, those of its blocks together; its own fields stand here."""\n\n']
    lines += [f"from .{module} import {kind}\n" for module, kind in wired.settings]
    kinds = [kind for _, kind in wired.settings]
    lines += ["\n\n", listed("class AppSettings(", kinds, "):", ("", "")), "\n"]
    lines += ['    """A field without a default must be set, else the service does not start."""\n']
    return "".join(lines)


def with_imports(text: str, added: Sequence[str]) -> str:
    """The import block with these too, sorted as ruff's isort does."""
    tree = ast.parse(text)
    present = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if not present:
        raise Unwirable("; ".join(added))
    first, last = present[0].lineno - 1, present[-1].end_lineno or 0
    lines = text.splitlines(keepends=True)
    if any(not isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body if first < node.lineno <= last) or any(
        "#" in line for line in lines[first:last]
    ):
        raise Unwirable("; ".join(added))
    plain: set[str] = set()
    taken: dict[str, set[str]] = {}
    for node in [*present, *ast.parse("\n".join(added)).body]:
        if isinstance(node, ast.Import):
            plain |= {ast.unparse(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            taken.setdefault(module, set()).update(ast.unparse(alias) for alias in node.names)
    own = re.search(r"^from ([\w]+)[\w.]*\.application import", text, re.MULTILINE)
    return "".join(lines[:first]) + _sorted_imports(plain, taken, own[1] if own else "") + "".join(lines[last:])


def _sorted_imports(plain: set[str], taken: Mapping[str, set[str]], own: str) -> str:
    def section(module: str) -> int:
        top = module.partition(".")[0]
        if module.startswith("."):
            return 3
        return 0 if top in sys.stdlib_module_names else 2 if top == own else 1

    def member(name: str) -> tuple[int, str]:
        return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name.lower())

    sections = []
    for number in range(4):
        lines = [f"import {name}\n" for name in sorted(plain, key=str.lower) if section(name) == number]
        for module in sorted(taken, key=lambda module: (module != ".", module.lower())):
            if section(module) == number:
                items = sorted(taken[module], key=member)
                lines.append(listed(f"from {module} import ", items, "", ("(", ")")) + "\n")
        if lines:
            sections.append("".join(lines))
    return "\n".join(sections)


# ---------------------------------------------------------------------- where it goes


@dataclass(frozen=True)
class Place:
    """A package and the project around it."""

    package: Path
    root: Path  # has pyproject.toml and tests
    path: Path  # what stands on sys.path

    @property
    def name(self) -> str:
        """The package's name in an import."""
        return ".".join(self.package.relative_to(self.path).parts)

    @property
    def beside(self) -> Path:
        """Where migrations stand: migrations.py looks beside its package."""
        return self.package.parent


def find_place(target: Path) -> Place:
    """Where `target` belongs. Raises Problem where it can't be imported."""
    package = Path(os.path.abspath(target))
    if package.exists() and not package.is_dir():
        raise Problem(f"{target} is a file; name the folder of a package")
    path = package.parent
    while (path / "__init__.py").is_file():
        path = path.parent
    marks = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
    around = [path, path.parent] if path.name == "src" else [path]
    root = next((folder for folder in around if any((folder / mark).exists() for mark in marks)), around[-1])
    place = Place(package, root, path)
    for part in place.name.split("."):
        if not part.isidentifier() or keyword.iskeyword(part):
            good = re.sub(r"\W+", "_", part).strip("_").lower() or "app"
            raise Problem(f"{target}: {part!r} can't be imported; call the package {good!r}")
    top = place.name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("tests", "migrations"):
        raise Problem(f"{target}: a package called {top!r} would hide another one; call it 'app'")
    return place


def build(library: Library, choice: Choice, place: Place, *, whole: bool) -> dict[Path, str]:
    """The content of every file for this choice; `whole` with the app's own files and tests."""
    wired = wiring(library, choice)
    made = {place.package / "__init__.py": ""}
    made |= {place.package / f"{name}.py": source.text for name, source in choice.sources.items()}
    for block in choice.blocks.values():
        for file in _files(block):
            inside = file.relative_to(block.folder)
            made[place.beside / inside] = _renamed(file.read_text("utf-8"), place)
    application = place.package / APPLICATION
    if application in made:
        made[application] = wire_application(made[application], wired)
    if len(wired.settings) > 1 and whole:
        made[place.package / SETTINGS] = app_settings(wired)
    if whole:
        made |= _project_files(library, choice, wired, place)
    return made


def _files(block: Block) -> Iterator[Path]:
    for name in block.declared.files:
        path = block.folder / name
        found = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        yield from (each for each in found if "__pycache__" not in each.parts)


def _project_files(library: Library, choice: Choice, wired: Wiring, place: Place) -> dict[Path, str]:
    conftest = _renamed((library.project / CONFTEST).read_text("utf-8"), place)
    project = (library.project / PYPROJECT).read_text("utf-8")
    made = {place.root / CONFTEST: wire_conftest(conftest, wired)}
    for block in choice.blocks.values():
        test = block.folder / "tests" / f"test_{block.name}.py"
        if test.is_file():
            made[place.root / "tests" / test.name] = _renamed(test.read_text("utf-8"), place)
    made[place.root / PYPROJECT] = _project(project, wired, place)
    return made


def _project(text: str, wired: Wiring, place: Place) -> str:
    path = place.path.relative_to(place.root).as_posix()
    package = place.package.relative_to(place.root).as_posix()
    dependencies = "".join(f"    {json.dumps(line)},\n" for line in wired.requirements)
    text = re.sub(r"^dependencies = \[\n.*?^\]", f"dependencies = [\n{dependencies}]", text, flags=re.DOTALL | re.MULTILINE)
    text = text.replace('known-first-party = ["app"]', f'known-first-party = ["{place.name.partition(".")[0]}"]')
    text = text.replace('files = ["app", "tests"]', f'files = ["{package}", "tests"]')
    return text.replace('pythonpath = ["."]', f'pythonpath = ["{path}"]')


def _renamed(text: str, place: Place) -> str:
    """Absolute imports of `app` with the package's name. Sorted ones stay so, as it is the only first party."""
    text = re.sub(r"^(\s*(?:from|import) )app\b", rf"\g<1>{place.name}", text, flags=re.MULTILINE)
    up = "/.." * (len(place.name.split(".")) - 1)
    return text.replace("prepend_sys_path = %(here)s", f"prepend_sys_path = %(here)s{up}")


# ---------------------------------------------------------------------- what changes


@dataclass(frozen=True)
class Change:
    """`kind`: new, same, updated (was as assembled), kept (is the project's own), replaced (by --force)."""

    path: Path
    text: str
    kind: str

    @property
    def writes(self) -> bool:
        return self.kind in ("new", "updated", "replaced")


@dataclass(frozen=True)
class Plan:
    place: Place
    changes: tuple[Change, ...]
    wired: Wiring
    hints: tuple[str, ...]
    whole: bool
    migrations: Path | None  # the empty folder that waits for a first migration


def make_plan(library: Library, wanted: Sequence[str], place: Place, *, force: bool, wire: bool) -> Plan:
    """Decide about every file, and change none. Raises Problem where a file of the package is in the way."""
    present = _present(library, place)
    is_new = not any(path.name != "__init__.py" for path in place.package.glob("*"))
    whole = is_new or APPLICATION.removesuffix(".py") in present or bool({APP, "application"} & set(wanted))
    asked = needed(library, [*wanted, APP] if whole else wanted)
    choice = choose(library, {*asked.blocks, *present}) if whole else asked
    made = build(library, choice, place, whole=whole)
    before = build(library, choose(library, present), place, whole=True) if present else {}
    tests_fit = _tests_fit(place)
    changes, hints = [], []
    for path, text in made.items():
        if path.parent == place.root / "tests" and not tests_fit:
            continue
        change = _change(path, text, before.get(path), force=force and path.name != PYPROJECT)
        if change.kind == "kept":
            change, hint = _offer(change, wiring(library, asked), place, wire=wire)
            hints += hint
        changes.append(change)
    if not tests_fit and whole:
        hints.append("tests: tests/conftest.py has no fixtures `settings` and `client`, so no tests were added")
    _check_kept(changes, choice, place)
    if not whole:
        hints += _by_hand(wiring(library, asked))
    return Plan(place, tuple(_in_order(changes, place)), wiring(library, choice), tuple(hints), whole, _first(choice, place))


def _present(library: Library, place: Place) -> set[str]:
    return {path.stem for path in place.package.glob("*.py")} & set(library.blocks)


def _tests_fit(place: Place) -> bool:
    path = place.root / CONFTEST
    return not path.exists() or {"settings", "client"} <= read_source(path.read_text("utf-8"), path).defined


def _change(path: Path, text: str, before: str | None, *, force: bool) -> Change:
    if not path.exists():
        return Change(path, text, "new")
    now = path.read_text("utf-8")
    if now == text or (path.name == "__init__.py" and not text):
        return Change(path, now, "same")
    if now == before:
        return Change(path, text, "updated")
    return Change(path, text if force else now, "replaced" if force else "kept")


WIRE: Mapping[str, Callable[[str, Wiring], str]] = {"application.py": wire_application, "conftest.py": wire_conftest}


def _offer(change: Change, wired: Wiring, place: Place, *, wire: bool) -> tuple[Change, list[str]]:
    """For a file that the project has changed: put the parts in where `wire` allows it, else show how."""
    name = os.path.relpath(change.path, place.root)
    if change.path.name == PYPROJECT:
        missing = [line for line in wired.requirements if re.split(r"[\[>=<]", line)[0] not in change.text]
        return change, [f"{name}: add to the dependencies: {', '.join(missing)}"] if missing else []
    if change.path.name == SETTINGS:
        missing = [kind for _, kind in wired.settings if kind not in change.text]
        return change, [f"{name}: add the base class {', '.join(missing)}"] if missing else []
    if change.path.name not in WIRE:
        return change, []
    try:
        text = WIRE[change.path.name](change.text, wired)
    except Unwirable as error:
        return change, [f"{name}: put in by hand: {error}"]
    if text == change.text:
        return change, []
    if wire:
        return replace(change, text=text, kind="updated"), []
    diff = difflib.unified_diff(change.text.splitlines(), text.splitlines(), name, name, n=1, lineterm="")
    return change, [f"{name} is the project's own; --wire makes this change:", *diff]


def _check_kept(changes: Sequence[Change], choice: Choice, place: Place) -> None:
    """A module that stays must have what the others import from it."""
    for change in changes:
        if change.kind != "kept" or change.path.parent != place.package:
            continue
        defined = read_source(change.text, change.path).defined
        for name, source in choice.sources.items():
            lacking = source.siblings.get(change.path.stem, frozenset()) - defined
            if lacking:
                raise Problem(
                    f"{change.path} is in the way: it has no {', '.join(sorted(lacking))}, which {name}.py imports from "
                    "it; rename it, or assemble into a package of its own"
                )


def _by_hand(wired: Wiring) -> list[str]:
    """What the app of a package that was not assembled has to do itself."""
    parts = wired.parts
    hints = [f"mount: {', '.join(f'{name}.router' for name in wired.routers)}"] if wired.routers else []
    if wired.settings:
        hints.append(f"settings: {', '.join(f'{kind} of {module}.py' for module, kind in wired.settings)}")
    for title, lines in (
        ("import", parts.imports), ("beside the app", parts.state), ("in the lifespan", parts.make),
        ("before the first request", parts.start), ("around the lifespan's yield", parts.during),
        ("after it", parts.stop), ("middleware", tuple(f"{one.add}, outside {one.outside}" for one in parts.middleware)),
        ("CORS allow_headers", parts.cors_allow), ("CORS expose_headers", parts.cors_expose),
        ("body limit at least", parts.body_limit), ("packages", wired.requirements),
    ):  # fmt: skip
        if lines:
            hints.append(f"{title}: {'; '.join(lines)}")
    return hints


def _in_order(changes: Iterable[Change], place: Place) -> list[Change]:
    """Modules first and the app last, so that whatever stops the run leaves an app that still imports."""
    last = [SETTINGS, APPLICATION, "main.py"]

    def order(change: Change) -> tuple[bool, int, str]:
        inside = change.path.parent == place.package
        rank = last.index(change.path.name) + 1 if inside and change.path.name in last else 0
        return (not inside, rank, change.path.as_posix())

    return sorted(changes, key=order)


def _first(choice: Choice, place: Place) -> Path | None:
    if "migrations" not in choice.blocks:
        return None
    versions = place.beside / "migrations" / "versions"
    return None if any(versions.glob("*.py")) else versions


# ---------------------------------------------------------------------- writing


def install(plan: Plan) -> None:
    """All files are written beside their places first, then renamed; a failure takes everything back."""
    writes = [change for change in plan.changes if change.writes]
    if not writes and plan.migrations is None:
        return
    made_root = _make(plan.place.root)
    _sweep(plan.place.root)
    stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=plan.place.root))
    undo: list[Callable[[], object]] = []
    try:
        staged = [(_stage(stage, number, change), change.path) for number, change in enumerate(writes)]
        if not plan.place.package.exists():
            staged = _move_package(stage, plan.place, staged, undo)
        for file, path in staged:
            _move(stage, file, path, undo)
        if plan.migrations:
            undo += _make(plan.migrations)
    except BaseException:
        for step in reversed([*made_root, *undo]):
            step()
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for folder in (plan.place.root,) if made_root else ():
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _make(folder: Path) -> list[Callable[[], object]]:
    """Make the folder; the steps remove again what was made, as far as it is empty."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return [lambda each=each: each.is_dir() and not any(each.iterdir()) and each.rmdir() for each in reversed(missing)]


def _sweep(root: Path) -> None:
    for left in root.glob(f"{STAGE}*"):
        if time.time() - left.stat().st_mtime > STAGE_DEAD_S:
            shutil.rmtree(left, ignore_errors=True)


def _stage(stage: Path, number: int, change: Change) -> Path:
    file = stage / str(number)
    file.write_text(change.text, "utf-8")
    if change.path.exists():
        shutil.copymode(change.path, file)
    return file


def _move_package(
    stage: Path, place: Place, staged: Sequence[tuple[Path, Path]], undo: list[Callable[[], object]]
) -> list[tuple[Path, Path]]:
    """A new package appears at once, with one rename. What is left to move stands elsewhere."""
    folder = stage / "package"
    folder.mkdir()
    inside = [(file, path) for file, path in staged if path.parent == place.package]
    for file, path in inside:
        file.rename(folder / path.name)
    undo += _make(place.package.parent)
    folder.rename(place.package)
    undo.append(lambda: shutil.rmtree(place.package))
    return [pair for pair in staged if pair not in inside]


def _move(stage: Path, file: Path, path: Path, undo: list[Callable[[], object]]) -> None:
    undo += _make(path.parent)
    if path.exists():
        kept = stage / f"{file.name}.kept"
        shutil.copy2(path, kept)
        undo.append(lambda: kept.replace(path))
    else:
        undo.append(lambda: path.unlink(missing_ok=True))
    file.replace(path)


def first_migration(plan: Plan) -> str:
    """Write the first migration with the alembic of this interpreter; what came of it, in a line."""
    command = "alembic revision --autogenerate -m first"
    by_hand = f"the first migration is to be made, as references/migrations.md of fastapi-database says: {command}"
    if not importlib.util.find_spec("alembic"):
        return f"{by_hand} (no alembic in {sys.executable})"
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"DATABASE_URL": f"sqlite+aiosqlite:///{scratch}/scratch.db"}
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=plan.place.beside, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        return f"{by_hand}\n{done.stderr.strip()[-500:]}"
    if importlib.util.find_spec("ruff"):
        for step in (["check", "--fix", "-q"], ["format", "-q"]):
            subprocess.run(
                [sys.executable, "-m", "ruff", *step, "migrations"],
                cwd=plan.place.beside, capture_output=True, check=False,
            )  # fmt: skip
    return f"made the first migration in {os.path.relpath(plan.place.beside / 'migrations' / 'versions', plan.place.root)}"


# ---------------------------------------------------------------------- the command


def report(plan: Plan, *, dry: bool) -> Iterator[str]:
    """What was done, one line for each kind of change and folder."""
    place = plan.place
    yield f"{place.root}: package {place.name}{' (dry run: nothing is written)' if dry else ''}"
    for kind in ("new", "updated", "replaced", "kept"):
        folders: dict[Path, list[str]] = {}
        for change in plan.changes:
            if change.kind == kind:
                folders.setdefault(change.path.parent, []).append(change.path.name)
        for folder, names in folders.items():
            yield f"  {kind:8} {os.path.relpath(folder, place.root)}/: {' '.join(names)}"
    if not any(change.writes for change in plan.changes):
        yield "  nothing to do: all of it is there"
    yield from (f"  {hint}" if not hint.startswith(("+", "-", "@", " ")) else hint for hint in plan.hints)
    if plan.whole:
        yield f"  required environment: {' '.join(name.upper() for name in plan.wired.required)}"
        yield "  next: python -m pytest -q"


def listing(library: Library) -> Iterator[str]:
    yield "names for several blocks:"
    yield from (f"  {name:18} {' '.join(members)}" for name, members in sorted(library.names.items()))
    skill = ""
    for block in sorted(library.blocks.values(), key=lambda block: (block.skill, block.name)):
        if block.skill != skill:
            skill = block.skill
            yield f"{skill}:"
        yield f"  {block.name:18} {block.source.about}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], epilog="Exit codes: 0 done, 2 wrong use.")
    parser.add_argument("target", nargs="?", type=Path, metavar="TARGET", help="the package's folder, such as app or src/shop")
    parser.add_argument("--with", dest="wanted", action="append", default=[], metavar="NAME,...", help="blocks by name")
    parser.add_argument("--list", action="store_true", help="show the blocks and stop")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and write nothing")
    parser.add_argument("--wire", action="store_true", help="also put the parts into an application.py that was changed")
    parser.add_argument(
        "--force", action="store_true", help="replace modules and tests that were changed (pyproject.toml never)"
    )
    parser.add_argument("--skills", type=Path, default=SKILLS, help="the folder that holds the skills")
    given = parser.parse_args(arguments)
    if not given.list and given.target is None:
        parser.error("which package? assemble.py --with NAME,... TARGET")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    # As an exception, so that what was begun is taken back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        library = read_library(given.skills)
        if given.list:
            print("\n".join(listing(library)))
            return 0
        wanted = expand(library, [name for names in given.wanted for name in names.split(",") if name.strip()])
        plan = make_plan(library, wanted, find_place(given.target), force=given.force, wire=given.wire)
        if not given.dry_run:
            install(plan)
    except (Problem, OSError, UnicodeDecodeError) as error:
        print(f"assemble.py: {error}", file=sys.stderr)
        return 2
    print("\n".join(report(plan, dry=given.dry_run)))
    if plan.migrations and not given.dry_run:
        print(f"  {first_migration(plan)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
