"""Shows that a task's checks can be trusted: idle fails, the solution passes, each mutant is caught as it says.

Every known answer takes the path of a real trial's grading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from . import tasks, workspace
from .grade import Grader
from .model import Grade, Mutant, Task


@dataclass(frozen=True)
class MutantProof:
    """What one mutant showed. `ok` when exactly the expected checks failed."""

    name: str
    expected: frozenset[str]
    caught_by: frozenset[str]
    messages: dict[str, str]

    @property
    def ok(self) -> bool:
        return self.caught_by == self.expected


@dataclass(frozen=True)
class Proof:
    """The evidence for one task. `partial` when only some mutants were asked for."""

    task: Task
    idle: Grade
    solution: Grade
    mutants: tuple[MutantProof, ...]
    partial: bool = False

    @property
    def idle_fails(self) -> bool:
        return not self.idle.passed and self.idle.score < 1

    @property
    def ok(self) -> bool:
        return not list(self.complaints())

    def complaints(self) -> Iterator[str]:
        """What is wrong with the task, one line each."""
        name = self.task.name
        if not self.idle_fails:
            yield f"{name}: the untouched starter passes; the checks ask for nothing"
        for check in self.solution.checks:
            if check.name in self.solution.failing():
                yield f"{name}: the solution does not pass {check.name}: {check.message}"
        if not self.partial:
            for check_name in tasks.without_mutant(self.task):
                yield f"{name}: no mutant names {check_name}; nothing shows that it can fail"
        for mutant in self.mutants:
            if mutant.ok:
                continue
            missed = sorted(mutant.expected - mutant.caught_by)
            extra = {check: mutant.messages[check][:300] for check in sorted(mutant.caught_by - mutant.expected)}
            yield f"{name}: mutant {mutant.name}: passes {missed}; fails beside what it names: {extra}"

    def catches(self) -> dict[str, list[str]]:
        """For each check, the mutants that it has caught."""
        return {
            check.name: [mutant.name for mutant in self.mutants if check.name in mutant.caught_by]
            for check in self.task.checks
        }


def prove(
    chosen: list[Task],
    grader: Grader,
    *,
    jobs: int,
    only: frozenset[str] = frozenset(),
    done: Callable[[str], None],
) -> list[Proof]:
    """Grade every known answer of the tasks, `jobs` at once. `only` restricts the mutants; `done` hears of each."""
    plan: list[tuple[Task, str, Mutant | None]] = []
    for task in chosen:
        mutants = [mutant for mutant in task.mutants if not only or mutant.name in only]
        plan += [(task, "idle", None), (task, "solution", None), *((task, mutant.name, mutant) for mutant in mutants)]
    grades: dict[tuple[str, str], Grade] = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_graded, grader, task, name, mutant): (task, name) for task, name, mutant in plan}
        try:
            for future in as_completed(futures):
                task, name = futures[future]
                grades[task.name, name] = future.result()
                done(f"{task.name}: {name}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [_proof(task, grades, only) for task in chosen]


def _graded(grader: Grader, task: Task, name: str, mutant: Mutant | None) -> Grade:
    with TemporaryDirectory(prefix="known-", dir=grader.scratch) as scratch:
        folder = Path(scratch) / "workspace"
        if mutant is not None:
            workspace.mutated(task, mutant, folder)
        elif name == "idle":
            workspace.starter(task, folder)
        else:
            workspace.solution(task, folder)
        return grader.grade(task, folder)


def _proof(task: Task, grades: dict[tuple[str, str], Grade], only: frozenset[str]) -> Proof:
    shown = []
    for mutant in task.mutants:
        grade = grades.get((task.name, mutant.name))
        if grade is not None:
            messages = {check.name: check.message for check in grade.checks}
            shown.append(MutantProof(mutant.name, mutant.caught_by, grade.failing(), messages))
    return Proof(task, grades[task.name, "idle"], grades[task.name, "solution"], tuple(shown), partial=bool(only))
