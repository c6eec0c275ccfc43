"""The files of a project: which there are, which one a dotted name leads to, which FastAPI they are for."""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from .model import AuditError, Version
from .source import Module

SKIPPED = {"__pycache__", "node_modules", "venv", "env", "site-packages", "build", "dist"}
# How many folders above a file may hold what it imports, or say that it belongs to a FastAPI project.
CLIMB = 6
# Packages whose own source is never read: the rules know them by name.
KNOWN = frozenset(sys.stdlib_module_names) | {
    "aiohttp", "alembic", "anyio", "argon2", "asyncpg", "bcrypt", "boto3", "celery", "fastapi", "fastapi_users",
    "httpx", "httpx2", "jose", "jwt", "limits", "numpy", "pandas", "passlib", "psycopg", "psycopg2", "pwdlib",
    "pydantic", "pydantic_settings", "pymongo", "pytest", "pytest_asyncio", "redis", "requests", "slowapi",
    "sqlalchemy", "sqlmodel", "starlette", "structlog", "uvicorn",
}  # fmt: skip
MANIFESTS = ("pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "uv.lock", "poetry.lock")
PACKAGES = ("fastapi", "starlette", "pydantic", "sqlalchemy", "httpx")
LOCKED = re.compile(r'^name = "([\w.-]+)"\s*\nversion = "(\d+(?:\.\d+)*)', re.MULTILINE)
# `fastapi[all]==0.115.2` on a line of its own or quoted; and Poetry's `pydantic = "^1.10"` or `{version = "^1.10"}`.
DECLARED = (
    re.compile(
        rf"""(?:^|["'])({"|".join(PACKAGES)})(?:\[[^\]]*\])?\s*([~<>=!][^"'\n;#]*)""", re.MULTILINE | re.IGNORECASE
    ),
    re.compile(
        rf"""^({"|".join(PACKAGES)})\s*=\s*(?:\{{[^}}\n]*version\s*=\s*)?["']([^"'\n]+)["']""",
        re.MULTILINE | re.IGNORECASE,
    ),
)
LIMIT = re.compile(r"(\^|~=|~|==|<=|<|>=|>|!=)?\s*(\d+(?:\.\d+)*)")
REQUIRES = re.compile(r"""^(?:requires-python|python)\s*=\s*["'][^"'\d]*(\d+(?:\.\d+)*)""", re.MULTILINE)
NAMED = re.compile(r"(?<![\w-])fastapi(?![\w-])", re.IGNORECASE)


@dataclass(frozen=True)
class Definition:
    """Where the project defines a name: a function, a class, or an assignment."""

    module: Module
    node: ast.AST


@dataclass(frozen=True)
class Broken:
    """A file that can't be read as Python."""

    path: Path
    line: int
    column: int
    reason: str


@dataclass
class Project:
    """Modules are read when they are asked for, so that the audit of one file costs little more than that file."""

    loaded: dict[Path, Module | Broken] = field(default_factory=dict)
    audited: list[Module] = field(default_factory=list)
    _places: dict[tuple[Path, str], Path | None] = field(default_factory=dict)
    _holders: dict[tuple[Path, str], list[Path]] = field(default_factory=dict)
    _test_settings: dict[Path, list[str]] = field(default_factory=dict)
    _defined: dict[tuple[Path, str], Definition | None] = field(default_factory=dict)

    def read(self, path: Path) -> Module | Broken:
        """Parse a file once."""
        path = path.resolve()
        if path not in self.loaded:
            self.loaded[path] = self._parse(path)
        return self.loaded[path]

    def add(self, paths: Iterable[Path]) -> list[Broken]:
        """Read the files to audit; what can't be read is handed back."""
        broken = []
        for path in paths:
            found = self.read(path)
            if isinstance(found, Broken):
                broken.append(found)
            else:
                self.audited.append(found)
        return broken

    def _parse(self, path: Path) -> Module | Broken:
        try:
            source = path.read_bytes()
        except OSError as error:
            return Broken(path, 1, 1, error.strerror or "can't be read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except SyntaxError as error:
            return Broken(path, error.lineno or 1, max(error.offset or 1, 1), error.msg)
        except (ValueError, RecursionError, MemoryError) as error:
            return Broken(path, 1, 1, str(error) or type(error).__name__)
        text = source.decode("utf-8", "replace")
        root = _root(path)
        return Module(path, text, tree, _dotted(path, root), root, self)

    # ------------------------------------------------------------ names

    def find(self, name: str, root: Path, depth: int = 0) -> Definition | None:
        """The definition behind a dotted name, as a module below `root` imports it, through re-exports.

        None for names of other packages, and where a name has several meanings: rules only speak of what is certain.
        """
        top = name.partition(".")[0]
        if "." not in name or top in KNOWN or top == "builtins" or depth > CLIMB:
            return None
        key = (root, name)
        if key not in self._defined:
            self._defined[key] = None  # what leads back to itself has no definition
            self._defined[key] = self._find(name, root, depth)
        return self._defined[key]

    def _find(self, name: str, root: Path, depth: int) -> Definition | None:
        holder, _, last = name.rpartition(".")
        path = self._place(root, holder)
        module = self.read(path) if path else None
        if not isinstance(module, Module):
            return None
        found = module.bindings[module.tree].get(last, [])
        defined = [one for one in found if one.kind in ("def", "class", "assign")]
        if len(defined) == 1:
            return Definition(module, defined[0].node)
        imported = [one for one in found if one.kind == "import"]
        return self.find(imported[0].target, module.root, depth + 1) if imported and not defined else None

    def _place(self, root: Path, name: str) -> Path | None:
        """The file of a module that is imported from a folder or from one of those above it."""
        key = (root, name)
        if key not in self._places:
            parts = name.split(".")
            self._places[key] = next(_files(self._bases(root, parts[0]), parts), None)
        return self._places[key]

    def _bases(self, root: Path, top: str) -> list[Path]:
        """The folders that hold a package or module of this name."""
        key = (root, top)
        if key not in self._holders:
            near = [root, *root.parents][:CLIMB]
            self._holders[key] = [one for one in near if (one / top).is_dir() or (one / f"{top}.py").is_file()]
        return self._holders[key]

    # ------------------------------------------------------------ what the whole project does

    def test_settings(self, folder: Path) -> list[str]:
        """The texts of what may configure pytest for the tests in a folder."""
        if folder not in self._test_settings:
            names = ("pyproject.toml", "pytest.ini", "pytest.toml", "setup.cfg", "tox.ini", "conftest.py")
            self._test_settings[folder] = [_read(one / name) for one in _upwards(folder) for name in names]
        return self._test_settings[folder]

    @cached_property
    def audited_text(self) -> str:
        """The sources of all audited files, to ask quickly whether something occurs anywhere."""
        return "\n".join(module.text for module in self.audited)


def _files(bases: list[Path], parts: list[str]) -> Iterator[Path]:
    for base in bases:
        for path in (base.joinpath(*parts[:-1], f"{parts[-1]}.py"), base.joinpath(*parts, "__init__.py")):
            if path.is_file():
                yield path


def _root(path: Path) -> Path:
    """The folder above the topmost package that a file is in."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _dotted(path: Path, root: Path) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def python_files(paths: Iterable[Path], excluded: Iterable[str] = ()) -> list[Path]:
    """The Python files below these paths, each once.

    What is named is taken even if its name would be skipped in a folder above. Raises AuditError if it is missing.
    """
    patterns = tuple(excluded)
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            found[path] = None
        elif path.is_dir():
            found.update(dict.fromkeys(_walk(path, patterns)))
        else:
            raise AuditError(f"{path}: no such file or folder")
    return list(found)


def _walk(top: Path, excluded: tuple[str, ...]) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders
            if name not in SKIPPED and not name.startswith(".") and not _matches(here / name, top, excluded)
        )  # fmt: skip
        for name in sorted(names):
            path = here / name
            if name.endswith(".py") and not _matches(path, top, excluded) and path.is_file():
                yield path


def _matches(path: Path, top: Path, patterns: tuple[str, ...]) -> bool:
    inner = path.relative_to(top)
    return any(path.match(pattern) or inner.match(pattern) for pattern in patterns)


def uses_fastapi(start: Path) -> bool:
    """Whether the nearest list of what a project depends on, from a folder upwards, names FastAPI."""
    nearest = next(filter(None, map(_manifests, _upwards(start))), ())
    return any(NAMED.search(_read(path)) for path in nearest)


def requires_python(start: Path) -> Version:
    """The lower end of the `requires-python` of the nearest pyproject.toml that has one; (0,) without."""
    for folder in _upwards(start):
        if found := REQUIRES.search(_read(folder / "pyproject.toml")):
            return version(found[1])
    return (0,)


def declared_versions(start: Path) -> dict[str, Version]:
    """The newest version of PACKAGES that the project around a folder allows; exact where a lock file tells it."""
    near = [_declared_in(folder) for folder in _upwards(start)]
    found: dict[str, Version] = {}
    for declared in [*(locked for locked, _ in near), *(limits for _, limits in near)]:
        found = declared | found
    return found


def _upwards(start: Path) -> Iterator[Path]:
    """A folder and those above it, as far as the repository goes."""
    for folder in [start, *start.parents][:CLIMB]:
        yield folder
        if (folder / ".git").exists():
            return


def _manifests(folder: Path) -> tuple[Path, ...]:
    named = [folder / name for name in MANIFESTS if (folder / name).is_file()]
    return (*named, *sorted(folder.glob("requirements*.txt")), *sorted(folder.glob("requirements/*.txt")))


@cache
def _declared_in(folder: Path) -> tuple[dict[str, Version], dict[str, Version]]:
    """What lock files say, and what other files allow."""
    locked: dict[str, Version] = {}
    allowed: dict[str, Version] = {}
    for path in _manifests(folder):
        text = _read(path)
        if path.suffix == ".lock":
            locked |= {
                name.lower(): version(number) for name, number in LOCKED.findall(text) if name.lower() in PACKAGES
            }
            continue
        for name, limits in (found for pattern in DECLARED for found in pattern.findall(text)):
            if limit := newest(limits):
                allowed[name.lower()] = limit
    return locked, allowed


def newest(limits: str) -> Version:
    """The upper end of a version specifier, with 9999 for any number below it; empty where it is open.

    >>> newest("~=1.10"), newest("==0.115.2"), newest(">=1,<2")
    ((1, 9999), (0, 115, 2), (1, 9999))
    """
    ends = []
    for sign, number in LIMIT.findall(limits):
        parts = version(number)
        if sign in ("==", "<=", ""):
            ends.append(parts)
        elif sign == "<":
            ends.append(_below(parts))
        elif sign in ("~=", "~"):
            ends.append((*(parts[:-1] if sign == "~=" or len(parts) > 2 else parts), 9999))
        elif sign == "^":
            significant = next((place for place, part in enumerate(parts) if part), 0)
            ends.append((*parts[: significant + 1], 9999))
    return min(ends, default=())


def _below(parts: Version) -> Version:
    while len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return (*parts[:-1], parts[-1] - 1, 9999)


def version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
