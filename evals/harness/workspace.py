"""Task -> a private folder with the files that an agent finds, or that a known answer has."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from .model import Mutant, Task

# What tools leave behind; never a file of a task or of an answer.
CACHES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
LITTER = shutil.ignore_patterns(*CACHES, ".gitkeep", "*.pyc")
AUTHOR = {
    "GIT_AUTHOR_NAME": "starter",
    "GIT_AUTHOR_EMAIL": "starter@example.com",
    "GIT_COMMITTER_NAME": "starter",
    "GIT_COMMITTER_EMAIL": "starter@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def starter(task: Task, folder: Path) -> Path:
    """Make `folder` with the starter's files."""
    shutil.copytree(task.starter, folder, ignore=LITTER)
    return _writable(folder)


def solution(task: Task, folder: Path) -> Path:
    """Make `folder` with the starter's files and the solution laid over them."""
    starter(task, folder)
    shutil.copytree(task.solution, folder, ignore=LITTER, dirs_exist_ok=True)
    return _writable(folder)


def mutated(task: Task, mutant: Mutant, folder: Path) -> Path:
    """Make `folder` with the solution and one fault. The task's reader made sure that `find` occurs once."""
    solution(task, folder)
    path = folder / mutant.file
    path.write_text(path.read_text(encoding="utf-8").replace(mutant.find, mutant.replace), encoding="utf-8")
    return folder


def _writable(folder: Path) -> Path:
    """An agent must be able to write where the checkout that it was copied from is read-only."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return folder


def commit(folder: Path) -> None:
    """Put the starter under git, as a user's project is. A machine without git does without."""
    if shutil.which("git") is None:
        return
    environment = {**AUTHOR, "PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "Start"]):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True, capture_output=True)
