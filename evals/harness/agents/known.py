"""Agents whose result is known beforehand; the proof of a task is made with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .. import workspace
from ..model import Mutant, Status, Task, Work


class Agent(Protocol):
    """Turns a task into a workspace."""

    def work(self, task: Task, folder: Path) -> Work:
        """Fill `folder`, which must not exist, and say how it went."""
        ...


@dataclass(frozen=True)
class Idle:
    """Leaves the starter as it is."""

    def work(self, task: Task, folder: Path) -> Work:
        workspace.starter(task, folder)
        return Work(Status.COMPLETED)


@dataclass(frozen=True)
class Solution:
    """Answers with the task's own solution."""

    def work(self, task: Task, folder: Path) -> Work:
        workspace.solution(task, folder)
        return Work(Status.COMPLETED)


@dataclass(frozen=True)
class Mutated:
    """Answers with the solution and one fault."""

    mutant: Mutant

    def work(self, task: Task, folder: Path) -> Work:
        workspace.mutated(task, self.mutant, folder)
        return Work(Status.COMPLETED)
