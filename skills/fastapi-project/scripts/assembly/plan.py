"""What happens to every file, decided before any is written."""

import difflib
import json
import keyword
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .blocks import APP, AssemblyError, Block, Choice, Library, choose, needed, read_source
from .wiring import NoPlaceError, Wiring, app_settings, wire_application, wire_conftest, wiring

APPLICATION, SETTINGS, CONFTEST, PYPROJECT = "application.py", "app_settings.py", "tests/conftest.py", "pyproject.toml"


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
    """Where `target` belongs. Raises AssemblyError where it can't be imported."""
    package = target.resolve()
    if package.exists() and not package.is_dir():
        raise AssemblyError(f"{target} is a file; name the folder of a package")
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
            raise AssemblyError(f"{target}: {part!r} can't be imported; call the package {good!r}")
    top = place.name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("tests", "migrations"):
        raise AssemblyError(f"{target}: a package called {top!r} would hide another one; call it 'app'")
    return place


def build(library: Library, choice: Choice, place: Place, *, whole: bool) -> dict[Path, str]:
    """The content of every file for this choice; `whole` with the app's own files and tests."""
    wired = wiring(library, choice)
    made = {place.package / "__init__.py": ""}
    for name, source in choice.sources.items():
        if choice.blocks[name].is_module:
            made[place.package / f"{name}.py"] = source.text
    for block in choice.blocks.values():
        made |= {_goes_to(file, block, place): _renamed(file.read_text("utf-8"), place) for file in _files(block)}
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


def _goes_to(file: Path, block: Block, place: Place) -> Path:
    inside = file.relative_to(block.folder)
    return (place.root if inside.parts[0] == "tests" else place.beside) / inside


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
    text = re.sub(r"(?ms)^dependencies = \[\n.*?^\]", f"dependencies = [\n{dependencies}]", text)
    for line in wired.parts.dev_requirements:
        text = re.sub(r"(?m)^(dev = \[.*)\]$", rf"\g<1>, {json.dumps(line)}]", text)
    text = text.replace('known-first-party = ["app"]', f'known-first-party = ["{place.name.partition(".")[0]}"]')
    text = text.replace('files = ["app", "tests"]', f'files = ["{package}", "tests"]')
    return text.replace('pythonpath = ["."]', f'pythonpath = ["{path}"]')


def _renamed(text: str, place: Place) -> str:
    """Absolute imports of `app` with the package's name. Sorted ones stay so, as it is the only first party."""
    text = re.sub(r"^(\s*(?:from|import) )app\b", rf"\g<1>{place.name}", text, flags=re.MULTILINE)
    up = "/.." * (len(place.name.split(".")) - 1)
    return text.replace("prepend_sys_path = %(here)s", f"prepend_sys_path = %(here)s{up}")


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
    migrations: Path | None  # the folder where a migration for new tables belongs
    message: str  # what that migration is called


def make_plan(library: Library, wanted: Sequence[str], place: Place, *, force: bool, wire: bool) -> Plan:
    """Decide about every file, and change none. Raises AssemblyError where a file of the package is in the way."""
    present = _present(library, place)
    is_new = not any(path.name != "__init__.py" for path in place.package.glob("*"))
    whole = is_new or _is_assembled(place) or bool({APP, "application"} & set(wanted))
    asked = needed(library, [*wanted, APP] if whole else wanted)
    choice = choose(library, {*asked.blocks, *present}) if whole else asked
    made = build(library, choice, place, whole=whole)
    before = [build(library, choose(library, names), place, whole=True) for names in _earlier(place, present)]
    # What is put into changed files is what was asked for now: a part that somebody took out stays out.
    offered = replace(wiring(library, asked), settings=wiring(library, choice).settings)
    tests_fit = _tests_fit(place)
    changes, hints = [], []
    for path, text in made.items():
        if not tests_fit and path.parent == place.root / "tests" and path.name.startswith(("test_", "conftest")):
            continue
        assembled = {files[path] for files in before if path in files}
        change = _change(path, text, assembled, force=force and path.name != PYPROJECT)
        if change.kind == "kept":
            change, hint = _offer(change, offered, place, wire=wire)
            hints += hint
        changes.append(change)
    if not tests_fit and whole:
        hints.append("tests: tests/conftest.py has no fixtures `settings` and `client`, so no tests were added")
    _check_kept(changes, choice, place)
    if not whole:
        hints += _by_hand(wiring(library, asked))
        hints.append(f"all of it in one file: {library.project / APPLICATION}")
    in_order = tuple(_in_order(changes, place))
    versions = _versions(choice, changes, place)
    message = f"add {', '.join(wanted)}" if versions and any(versions.glob("*.py")) else "first"
    return Plan(place, in_order, wiring(library, choice), tuple(hints), whole, versions, message)


def _is_assembled(place: Place) -> bool:
    """Whether the package has an application.py of this kind, changed or not."""
    path = place.package / APPLICATION
    return (
        path.is_file() and {"create_app", "ROUTERS", "lifespan"} <= read_source(path.read_text("utf-8"), path).defined
    )


def _present(library: Library, place: Place) -> set[str]:
    """The blocks that are in the package; those without a module by their files."""
    modules = {path.stem for path in place.package.glob("*.py")} & set(library.blocks)
    others = (block for block in library.blocks.values() if not block.is_module)
    return modules | {
        block.name for block in others if all(_goes_to(file, block, place).exists() for file in _files(block))
    }


def _earlier(place: Place, present: set[str]) -> Iterator[set[str]]:
    """The sets that the app may have been assembled from: what is there, and what application.py reaches.

    They differ after a run that was stopped between the modules and the app.
    """
    if present:
        yield present
    reached: set[str] = set()
    waiting = present & {APP, "application"}
    while waiting:
        reached |= waiting
        files = [place.package / f"{name}.py" for name in waiting]
        near = {each for file in files for each in read_source(file.read_text("utf-8"), file).siblings}
        if SETTINGS.removesuffix(".py") in near:
            file = place.package / SETTINGS
            near |= set(read_source(file.read_text("utf-8"), file).siblings)
        waiting = (near & present) - reached
    if reached:
        yield reached


def _tests_fit(place: Place) -> bool:
    path = place.root / CONFTEST
    return not path.exists() or {"settings", "client"} <= read_source(path.read_text("utf-8"), path).defined


def _change(path: Path, text: str, assembled: set[str], *, force: bool) -> Change:
    if not path.exists():
        return Change(path, text, "new")
    now = path.read_text("utf-8")
    if now == text or (path.name == "__init__.py" and not text):
        return Change(path, now, "same")
    if now in assembled:
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
    except NoPlaceError as error:
        return change, [f"{name}: put in by hand: {error}"]
    if text == change.text:
        return change, []
    if wire:
        return replace(change, text=text, kind="updated"), []
    diff = difflib.unified_diff(change.text.splitlines(), text.splitlines(), name, name, n=1, lineterm="")
    return change, [f"{name} is the project's own; --wire makes this change:", *diff]


def _check_kept(changes: Sequence[Change], choice: Choice, place: Place) -> None:
    """A module that stays must have what the others import from it."""
    kept = [change for change in changes if change.kind == "kept" and change.path.parent == place.package]
    ours = {
        name: source for name, source in choice.sources.items() if name not in {change.path.stem for change in kept}
    }
    for change in kept:
        defined = read_source(change.text, change.path).defined
        for name, source in ours.items():
            lacking = source.siblings.get(change.path.stem, frozenset()) - defined
            if lacking:
                raise AssemblyError(
                    f"{change.path} is in the way: {name}.py imports {', '.join(sorted(lacking))} from it, which it "
                    "doesn't have; rename it, or assemble into a package of its own"
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
        ("after it", parts.stop), ("middleware", tuple(f"{one.add}, around {one.outside}" for one in parts.middleware)),
        ("CORS allow_headers", parts.cors_allow), ("CORS expose_headers", parts.cors_expose),
        ("body limit at least", parts.body_limit), ("packages", wired.requirements),
        ("change", tuple(f"{find.strip()} -> {new.strip()!r}" for find, new in parts.edits)),
    ):  # fmt: skip
        if lines:
            hints.append(f"{title}: {'; '.join(lines)}")
    return hints


def _in_order(changes: Iterable[Change], place: Place) -> list[Change]:
    """Modules first and the app last, so that whatever stops the run leaves an app that still imports."""
    last = [place.package / name for name in (SETTINGS, APPLICATION, "main.py")]

    def order(change: Change) -> tuple[int, str]:
        rank = 2 + last.index(change.path) if change.path in last else int(change.path.parent != place.package)
        return rank, change.path.as_posix()

    return sorted(changes, key=order)


def _versions(choice: Choice, changes: Iterable[Change], place: Place) -> Path | None:
    """Where a migration may be due: the app has migrations, and a module is new or the app imports others."""
    app = place.package / APPLICATION
    is_due = any(
        change.writes and change.path.parent == place.package and (change.kind == "new" or change.path == app)
        for change in changes
    )
    return place.beside / "migrations" / "versions" if is_due and "migrations" in choice.blocks else None
