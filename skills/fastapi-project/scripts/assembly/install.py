"""Puts a plan on disk: all of it or nothing."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .plan import Change, Place, Plan

STAGE = ".assemble-"
# A run takes a second: what is older was left by a killed one.
STAGE_DEAD_S = 60


def install(plan: Plan) -> None:
    """All files are written beside their places first, then renamed; a failure takes everything back."""
    writes = [change for change in plan.changes if change.writes]
    if not writes and plan.migrations is None:
        return
    undo: list[Callable[[], object]] = _make(plan.place.root)
    try:
        _sweep(plan.place.root)
        # A folder of its own beside the places: renames stay within one file system.
        with tempfile.TemporaryDirectory(prefix=STAGE, dir=plan.place.root) as stage:
            _install(plan, writes, Path(stage))
    except BaseException:
        # The stage is gone by now, and so the root may be empty.
        for step in reversed(undo):
            step()
        raise


def _install(plan: Plan, writes: Sequence[Change], stage: Path) -> None:
    begun: list[Callable[[], object]] = []
    try:
        staged = [(_stage(stage, number, change), change.path) for number, change in enumerate(writes)]
        if not plan.place.package.exists():
            staged = _move_package(stage, plan.place, staged, begun)
        for file, path in staged:
            _move(stage, file, path, begun)
        if plan.migrations:
            begun += _make(plan.migrations)
    except BaseException:
        for step in reversed(begun):
            step()
        raise


def _make(folder: Path) -> list[Callable[[], object]]:
    """Make the folder; the steps remove again what was made, as far as it is empty."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return [partial(_remove_empty, each) for each in reversed(missing)]


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


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
    undo.append(partial(shutil.rmtree, place.package))
    return [pair for pair in staged if pair not in inside]


def _move(stage: Path, file: Path, path: Path, undo: list[Callable[[], object]]) -> None:
    undo += _make(path.parent)
    if path.exists():
        kept = stage / f"{file.name}.kept"
        shutil.copy2(path, kept)
        undo.append(partial(kept.replace, path))
    else:
        undo.append(partial(path.unlink, missing_ok=True))
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
    return f"made the first migration in {os.path.relpath(plan.migrations or plan.place.beside, plan.place.root)}"
