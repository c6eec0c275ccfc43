#!/usr/bin/env python3
"""Copies this pack's agents and skills into a project's `.claude/`, brings them up to date, takes them out again.

What a team edited stays: a file counts as edited when its SHA-256 is not the one recorded in `.claude/<pack>.json` when
it was written. A file that was edited here and changed in the pack is named, and its new version is put beside it.

A run is all or nothing. Everything is staged in `.claude/.<pack>/`; renaming a journal into place there decides that
the run happens; then the files are moved. After a kill, the next run throws away what was staged without a journal, and
finishes what has one.

Needs Python 3.10 or newer and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

try:
    import fcntl
except ImportError:  # pragma: no cover  there is none on Windows
    fcntl = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[1]
FORMAT = 1
PARTS = ("agents", "skills")
LITTER = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".DS_Store"}
WAIT_S = 30.0
EPILOG = "Exit codes: 0 done, 1 done with conflicts to look at, 2 refused, 3 stopped half-way: run it again."


class InstallError(Exception):
    """Nothing was changed. The text says what is in the way and how to mend it."""


# ---------------------------------------------------------------------- the pack


@dataclass(frozen=True)
class File:
    data: bytes
    executable: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Pack:
    """`files` by their paths in the target, with `/`."""

    name: str
    version: str
    files: Mapping[str, File]

    def offered(self, units: Collection[str]) -> dict[str, str]:
        """The digest of every file that belongs to one of the agents or skills."""
        return {path: file.digest for path, file in self.files.items() if unit(path) in units}


def unit(path: str) -> str:
    """The name of the agent or skill that a file belongs to."""
    return PurePosixPath(path).parts[1].removesuffix(".md")


def read_pack(root: Path) -> Pack:
    """The plugin in the folder `root`. Raises InstallError."""
    manifest = root / ".claude-plugin" / "plugin.json"
    try:
        plugin = json.loads(manifest.read_text(encoding="utf-8"))
        name, version = str(plugin["name"]), str(plugin.get("version", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InstallError(
            f"{manifest} can't be read ({error}): run this file from a complete copy of the pack"
        ) from None
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise InstallError(f"{manifest}: the name {name!r} needs small letters, digits and hyphens only")
    files = {path.relative_to(root).as_posix(): _source(path) for path in sorted(_sources(root))}
    if not files:
        raise InstallError(f"{root} has neither agents/*.md nor skills/*/SKILL.md: there is nothing to install")
    return Pack(name, version, files)


def _sources(root: Path) -> Iterator[Path]:
    yield from root.glob("agents/*.md")
    for skill in root.glob("skills/*/SKILL.md"):
        for path in skill.parent.rglob("*"):
            if not (LITTER.intersection(path.relative_to(root).parts) or path.suffix == ".pyc" or path.is_dir()):
                yield path


def _source(path: Path) -> File:
    if path.is_symlink():
        raise InstallError(f"{path} is a symbolic link: put the file itself into the pack")
    return File(path.read_bytes(), os.access(path, os.X_OK))


def needed(pack: Pack, names: Collection[str]) -> set[str]:
    """The named units and those that they can't work without: what an agent preloads, and `../NAME` in a skill."""
    units = {unit(path) for path in pack.files}
    found, fresh = set(names), set(names)
    while fresh:
        fresh = {other for name in fresh for other in _mentions(pack, name)} & units - found
        found |= fresh
    return found


def _mentions(pack: Pack, name: str) -> Iterator[str]:
    for path, file in pack.files.items():
        if unit(path) != name or not path.endswith(".md"):
            continue
        text = file.data.decode(errors="replace")
        yield from re.findall(r"\.\./([a-z0-9-]+)", text)
        head = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
        preload = re.search(r"^skills:(.*(?:\n[ \t-].*)*)", head.group(1) if head else "", re.MULTILINE)
        yield from re.findall(r"[a-z0-9-]+", preload.group(1) if preload else "")


# ---------------------------------------------------------------------- what shall happen: no disk here


class Verdict(Enum):
    ADDED = "added"
    UPDATED = "updated"
    REMOVED = "removed"
    SAME = "unchanged"
    KEPT = "kept"
    CONFLICT = "conflict"
    BESIDE = "written beside"
    WAITS = "still beside"


@dataclass(frozen=True)
class Change:
    """One file: `before` and `after` are digests, None where there is no file."""

    verdict: Verdict
    path: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        notes = {
            Verdict.KEPT: "edited here" if self.before else "deleted here; --restore brings it back",
            Verdict.CONFLICT: "edited here and changed in the pack"
            if self.before
            else "deleted here, changed in the pack",
            Verdict.BESIDE: "the pack's version of a conflict",
            Verdict.WAITS: "the pack's version: merge it, then delete it",
        }
        note = notes.get(self.verdict, "")
        return f"{self.verdict.value:>14}  {self.path}" + (f"  ({note})" if note else "")


@dataclass(frozen=True)
class Record:
    """What was written: the digest of the pack's version by path, and of each version that was put beside a file."""

    files: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)

    def part(self, belongs: Callable[[str], bool]) -> Record:
        return Record(
            *({path: digest for path, digest in one.items() if belongs(path)} for one in (self.files, self.beside))
        )

    def __or__(self, other: Record) -> Record:
        return Record({**self.files, **other.files}, {**self.beside, **other.beside})

    def __bool__(self) -> bool:
        return bool(self.files or self.beside)


Look = Callable[[str], "str | None"]  # the digest of what is at a path of the target


def judge(base: str | None, mine: str | None, theirs: str | None) -> Verdict:
    """Three ways: the pack's version of last time, what is there now, the pack's version of today."""
    if mine == theirs:
        return Verdict.SAME
    if mine == base:
        return Verdict.ADDED if mine is None else Verdict.REMOVED if theirs is None else Verdict.UPDATED
    return Verdict.KEPT if theirs in (base, None) else Verdict.CONFLICT


def plan(
    offered: Mapping[str, str], record: Record, look: Look, *, restore: bool = False
) -> tuple[list[Change], Record]:
    """What happens to each file, and the record of it. An empty `offered` is an uninstallation."""
    changes = []
    for path in sorted({*offered, *record.files}):
        mine, theirs = look(path), offered.get(path)
        base = None if restore and mine is None else record.files.get(path)
        verdict = judge(base, mine, theirs)
        changes.append(Change(verdict, path, mine, theirs))
        changes.extend(_beside(changes[-1], record, look))
    left = {one.path: str(one.after) for one in changes if one.verdict in (Verdict.BESIDE, Verdict.WAITS)}
    return changes, Record(offered, left)


def _beside(change: Change, record: Record, look: Look) -> Iterator[Change]:
    """What becomes of versions beside the file: a conflict needs one, another stays until the file is settled."""
    own = {
        name: digest for name, digest in record.beside.items() if original(name) == change.path and look(name) == digest
    }
    if change.verdict is Verdict.CONFLICT:
        name = free_name(change.path, lambda name: name in own or look(name) in (None, change.after))
        own.pop(name, None)
        yield Change(Verdict.BESIDE, name, look(name), change.after)
    waits = change.verdict is Verdict.KEPT and change.after is not None
    for name, digest in own.items():
        yield Change(Verdict.WAITS, name, digest, digest) if waits else Change(Verdict.REMOVED, name, digest, None)


def free_name(path: str, free: Callable[[str], bool]) -> str:
    """`path.new`, `path.new2`, ...: the first that is free. Claude Code loads no such file."""
    number, name = 1, f"{path}.new"
    while not free(name):
        number += 1
        name = f"{path}.new{number}"
    return name


def original(name: str) -> str:
    return re.sub(r"(?<=[^/])\.new\d*$", "", name)


@dataclass(frozen=True)
class Step:
    """A file to be put in place, or removed where `after` is None, if `before` is still what is there."""

    path: str
    before: str | None
    after: str | None


def steps(changes: Iterable[Change]) -> list[Step]:
    """In an order in which what half a run leaves is never loaded: agents and SKILL.md last to come, first to go."""

    def rank(step: Step) -> tuple[int, str]:
        loaded = 2 if step.path.startswith("agents/") else 1 if step.path.endswith("/SKILL.md") else 0
        return (loaded if step.after else -loaded), step.path

    moving = (Verdict.ADDED, Verdict.UPDATED, Verdict.REMOVED, Verdict.BESIDE)
    return sorted((Step(one.path, one.before, one.after) for one in changes if one.verdict in moving), key=rank)


# ---------------------------------------------------------------------- the target: everything that touches its disk


@dataclass(frozen=True)
class Target:
    """The folder that agents and skills go to. `removable`: it may go when nothing is left in it."""

    folder: Path
    pack: str
    removable: bool

    @property
    def manifest(self) -> str:
        return f"{self.pack}.json"

    @property
    def stage(self) -> Path:
        return self.folder / f".{self.pack}"

    @property
    def journal(self) -> Path:
        return self.stage / "journal.json"

    def guard(self, path: str) -> Path:
        """Where `path` is, if it can be written without leaving the target. Raises InstallError."""
        place = self.folder
        for part in ("", *PurePosixPath(path).parent.parts):
            place /= part
            if place.is_symlink():
                raise InstallError(f"{place} is a symbolic link, which is not followed: put a folder in its place")
            if not place.exists():
                return self.folder / path
            if not place.is_dir():
                raise InstallError(f"{place} is a file where a folder is needed: move it away")
            if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
                raise InstallError(f"{place} can't be written to: change its owner or mode")
            if place.stat().st_dev != self.folder.stat().st_dev:
                raise InstallError(
                    f"{place} is on another file system than {self.folder}: files can't be moved there at once"
                )
        place = self.folder / path
        if place.is_symlink() or (place.exists() and not place.is_file()):
            raise InstallError(f"{place} is not a plain file, where one is needed: move it away")
        return place

    def look(self, path: str) -> str | None:
        place = self.guard(path)
        try:
            return hashlib.sha256(place.read_bytes()).hexdigest() if place.exists() else None
        except PermissionError:
            raise InstallError(f"{place} can't be read: change its owner or mode") from None


def project_target(project: Path, pack: str) -> Target:
    """`.claude` of a project, which must not lead out of it. Raises InstallError."""
    if not project.is_dir():
        raise InstallError(f"{project} is no folder: give the project's with --project")
    folder = project.resolve() / ".claude"
    if not folder.resolve().is_relative_to(project.resolve()):
        raise InstallError(f"{folder} is a symbolic link out of the project: put a folder in its place, or use --user")
    return _target(folder.resolve(), pack, removable=True)


def user_target(pack: str) -> Target:
    """Claude Code's own folder of the user: CLAUDE_CONFIG_DIR, else `~/.claude`. Raises InstallError."""
    named = os.environ.get("CLAUDE_CONFIG_DIR")
    return _target((Path(named) if named else Path.home() / ".claude").resolve(), pack, removable=False)


def _target(folder: Path, pack: str, *, removable: bool) -> Target:
    if not folder.parent.is_dir():
        raise InstallError(f"{folder.parent} is no folder: make it first")
    if folder.exists() and not folder.is_dir():
        raise InstallError(f"{folder} is a file where a folder is needed: move it away")
    if not folder.exists() and not os.access(folder.parent, os.W_OK | os.X_OK):
        raise InstallError(f"{folder.parent} can't be written to: change its owner or mode")
    return Target(folder, pack, removable)


@contextmanager
def alone(target: Target) -> Iterator[None]:
    """Hold the target's lock: on the folder above, which no run removes. A killed process loses it, too."""
    if fcntl is None:
        raise InstallError("this system has no file locks for Python: use WSL, or install the plugin with Claude Code")
    try:
        handle = os.open(target.folder.parent, os.O_RDONLY)
    except OSError as error:
        raise InstallError(
            f"{target.folder.parent} can't be read ({error.strerror}): change its owner or mode"
        ) from None
    deadline = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InstallError(
                        f"another run is at work on {target.folder}: wait for its end, or end it"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


# ---------------------------------------------------------------------- records and journals


def _json(target: Target, path: str) -> dict[str, Any]:
    """A file that this program wrote, or that somebody put there. Raises InstallError unless it has our format."""
    place = target.guard(path)
    try:
        data = json.loads(place.read_bytes())
    except ValueError as error:
        raise InstallError(
            f"{place} can't be read ({error}): bring it back from version control, or delete it"
        ) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InstallError(f"{place} was written by another version of this program: use that one, or delete the file")
    return data


def _digests(target: Target, place: str, value: object) -> dict[str, str]:
    """Paths and digests that can't lead anywhere else, even if somebody else wrote them."""
    if not isinstance(value, dict):
        raise InstallError(f"{target.folder / place}: files and beside must map paths to digests: delete the file")
    for path, digest in value.items():
        _proper(target, place, path, digest)
    return value


def _proper(target: Target, place: str, path: object, digest: object) -> None:
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    inside = (path == target.manifest or (len(parts) > 1 and parts[0] in PARTS)) and ".." not in parts
    if not inside or not (digest is None or (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest))):
        raise InstallError(f"{target.folder / place}: {path!r} is nothing that this program writes: delete the file")


def read_record(target: Target) -> Record:
    if not target.guard(target.manifest).exists():
        return Record()
    data = _json(target, target.manifest)
    return Record(*(_digests(target, target.manifest, data.get(key)) for key in ("files", "beside")))


def record_file(pack: Pack, record: Record) -> File:
    data = {
        "pack": pack.name,
        "version": pack.version,
        "format": FORMAT,
        "files": record.files,
        "beside": record.beside,
    }
    return File((json.dumps(data, indent=2, sort_keys=True) + "\n").encode())


def read_journal(target: Target) -> list[Step]:
    name = f".{target.pack}/journal.json"
    found = _json(target, name).get("steps")
    try:
        made = [Step(**one) for one in found or ()]
    except TypeError:
        raise InstallError(f"{target.journal} is nothing that this program writes: delete {target.stage}") from None
    for step in made:
        for digest in (step.before, step.after):
            _proper(target, name, step.path, digest)
    return made


# ---------------------------------------------------------------------- all or nothing


def stage(target: Target, steps: list[Step], contents: Mapping[str, File]) -> None:
    """Write everything beside its place. The rename of the journal, at the end, is the moment that decides."""
    try:
        target.folder.mkdir(exist_ok=True)
        target.stage.mkdir()
        for number, step in enumerate(steps):
            if step.after is not None:
                _write(target.stage / str(number), contents[step.after])
        text = json.dumps({"format": FORMAT, "steps": [vars(step) for step in steps]})
        _write(target.stage / "journal.new", File(text.encode()))
        (target.stage / "journal.new").replace(target.journal)
    except OSError as error:
        discard(target)
        raise InstallError(f"{error.filename or target.folder}: {error.strerror}") from None


def _write(path: Path, file: File) -> None:
    mode = 0o777 if file.executable else 0o666  # less what the umask takes
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(file.data)
        out.flush()
        os.fsync(out.fileno())


def discard(target: Target) -> None:
    shutil.rmtree(target.stage, ignore_errors=True)
    if target.removable:
        with suppress(OSError):
            target.folder.rmdir()  # only succeeds when it is empty


def carry_out(target: Target) -> list[str]:
    """Do what the journal says and was not done yet. Gives the files that somebody edited after it was written."""
    todo = read_journal(target)
    for step in todo:
        target.guard(step.path)
    try:
        edited = [step.path for number, step in enumerate(todo) if not _carry(target, number, step)]
    except InstallError as error:  # somebody changed a folder after the look above
        raise OSError(str(error)) from None
    for step in todo:
        if step.after is None:
            _tidy(target, step.path)
    target.journal.unlink()
    discard(target)
    return edited


def _carry(target: Target, number: int, step: Step) -> bool:
    place, now = target.folder / step.path, target.look(step.path)
    untouched = now == step.before or step.path == target.manifest
    if step.after is None:
        if untouched:
            place.unlink(missing_ok=True)
        return untouched or now is None
    staged = target.look(f".{target.pack}/{number}")
    if staged is None:
        return True
    if staged != step.after:
        raise InstallError(f"{target.stage / str(number)} is not what the journal names: delete {target.stage}")
    if not untouched and now != step.after:
        place = target.guard(free_name(step.path, lambda name: target.look(name) in (None, step.after)))
    place.parent.mkdir(parents=True, exist_ok=True)
    (target.stage / str(number)).replace(place)
    return place == target.folder / step.path


def _tidy(target: Target, path: str) -> None:
    for folder in PurePosixPath(path).parents[:-1]:
        try:
            (target.folder / folder).rmdir()
        except OSError:  # something is in it, or it is gone
            continue


def recover(target: Target) -> Iterator[str]:
    """Bring a target that a killed run left to its old or its new state. Says what was done."""
    target.guard(f".{target.pack}/journal.json")
    if target.journal.exists():
        edited = carry_out(target)
        yield "An earlier run was interrupted; it is finished now."
        yield from (f"Edited in the meantime and kept: {path}; the pack's version is beside it." for path in edited)
    elif target.stage.exists():
        discard(target)
        yield "An earlier run was interrupted before it changed anything; what it left is cleared away."


# ---------------------------------------------------------------------- the command line


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="install.py", description=(__doc__ or "").partition("\n")[0], epilog=EPILOG)
    made.add_argument("action", nargs="?", choices=("install", "uninstall"), default="install",
                      help="install also upgrades; uninstall removes what was installed and not edited")  # fmt: skip
    where = made.add_mutually_exclusive_group()
    where.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose .claude/ (default: here)")
    where.add_argument(
        "--user", action="store_true", help="CLAUDE_CONFIG_DIR, else ~/.claude: for all of your projects"
    )
    made.add_argument("--only", action="append", default=[], metavar="NAME", help="an agent or skill; may be repeated")
    made.add_argument("--restore", action="store_true", help="bring back files that were deleted here")
    made.add_argument("--dry-run", action="store_true", help="say what would happen, file by file, and change nothing")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        pack = read_pack(ROOT)
        target = user_target(pack.name) if options.user else project_target(options.project, pack.name)
        with alone(target):
            return run(options, pack, target)
    except InstallError as error:
        print(f"install.py: {error}. Nothing was changed.", file=sys.stderr)
        return 2
    except (OSError, KeyboardInterrupt) as error:
        print(
            f"install.py: stopped ({str(error) or 'interrupted'}). Run it again: it goes on from here.", file=sys.stderr
        )
        return 3


def run(options: argparse.Namespace, pack: Pack, target: Target) -> int:
    if options.dry_run and target.stage.exists():
        raise InstallError(f"an interrupted run left {target.stage}: run without --dry-run, which finishes it first")
    for line in recover(target):
        print(line)
    record = read_record(target)
    installing = options.action == "install"
    units = chosen(options.only, pack, record, with_needs=installing)
    ours = record.part(lambda path: unit(original(path)) in units)
    rest = record.part(lambda path: unit(original(path)) not in units)
    changes, now = plan(pack.offered(units) if installing else {}, ours, target.look, restore=options.restore)
    todo = [*steps(changes), *_record_step(target, record_file(pack, rest | now) if rest | now else None)]
    if not options.dry_run and todo:
        contents = {file.digest: file for file in (*pack.files.values(), record_file(pack, rest | now))}
        stage(target, todo, contents)
        for path in carry_out(target):
            print(f"Edited during this run and kept: {path}; the pack's version is beside it.")
    for line in report(changes, detailed=options.dry_run):
        print(line)
    print(summary(options, pack, target, bool(todo)))
    return 1 if any(one.verdict is Verdict.CONFLICT for one in changes) else 0


def _record_step(target: Target, file: File | None) -> list[Step]:
    before, after = target.look(target.manifest), file.digest if file else None
    return [] if before == after else [Step(target.manifest, before, after)]


def chosen(only: list[str], pack: Pack, record: Record, *, with_needs: bool) -> set[str]:
    """The agents and skills to work on. Raises InstallError for a name that neither pack nor target has."""
    known = {unit(path) for path in (*pack.files, *record.files)}
    if unknown := sorted(set(only) - known):
        raise InstallError(
            f"--only {unknown[0]}: there is no such agent or skill; there are {', '.join(sorted(known))}"
        )
    if not only:
        return known
    return needed(pack, only) if with_needs else set(only)


def report(changes: list[Change], *, detailed: bool) -> Iterator[str]:
    """What happened to each agent and skill in one line, and every file that a person should know of."""
    counts: dict[str, dict[str, int]] = {}
    for one in changes:
        name = unit(original(one.path))
        of_unit = counts.setdefault(name, {})
        of_unit[one.verdict.value] = of_unit.get(one.verdict.value, 0) + 1
    for name, of_unit in sorted(counts.items()):
        yield f"{name}: " + ", ".join(f"{count} {what}" for what, count in of_unit.items())
    quiet = {Verdict.SAME} if detailed else {Verdict.SAME, Verdict.ADDED, Verdict.UPDATED, Verdict.REMOVED}
    yield from (str(one) for one in changes if one.verdict not in quiet)


def summary(options: argparse.Namespace, pack: Pack, target: Target, changed: bool) -> str:
    called = f"{pack.name} {pack.version}".strip()
    if not changed:
        return f"{called}: {target.folder} is as it should be; nothing to do."
    if options.dry_run:
        return f"{called}: nothing was changed in {target.folder}; run without --dry-run to do this."
    if options.action == "uninstall":
        return f"{called}: taken out of {target.folder}. What was edited here is yours now."
    hooks = " Hooks come only with the plugin (claude plugin install)." if (ROOT / "hooks").is_dir() else ""
    return f"{called}: installed into {target.folder}. Start a new session of Claude Code to load it.{hooks}"


if __name__ == "__main__":
    sys.exit(main())
