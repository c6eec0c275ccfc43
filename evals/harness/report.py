"""Results -> documents for machines and tables for people. Computes nothing that a figure depends on."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .model import CheckResult, Grade, Kind, Outcome, Task
from .proof import Proof
from .tasks import without_mutant

MARK = {Outcome.PASSED: "[green]passed[/]", Outcome.FAILED: "[red]failed[/]", Outcome.MISSING: "[red]missing[/]"}
LOG_SHOWN = 1500


def check_document(check: CheckResult) -> dict[str, Any]:
    return {"name": check.name, "kind": check.kind, "outcome": check.outcome, "message": check.message}


def graded(task: Task, grade: Grade) -> dict[str, Any]:
    """One trial without an arm, as `grade --json` prints it."""
    return {
        "task": task.name,
        "number": 1,
        "status": "completed",
        "pass": grade.passed,
        "secure_pass": grade.secure_passed,
        "check_score": grade.score,
        "checks": [check_document(check) for check in grade.checks],
        "seconds": 0.0,
        "grade_seconds": grade.seconds,
        "turns": 0,
        "tokens": 0,
        "cost_usd": 0.0,
        "error": grade.error,
        "log": grade.log,
    }


def show_grade(out: Console, task: Task, grade: Grade) -> None:
    table = Table("check", "kind", "outcome", "message", title=task.name)
    for check in grade.checks:
        table.add_row(check.name, check.kind, MARK[check.outcome], escape(check.message[:400]))
    out.print(table)
    for check in grade.checks:
        for exchange in check.exchanges:
            out.print(f"{check.name}: {exchange.method} {exchange.url} {exchange.request[:300]}", markup=False)
            out.print(f"    -> {exchange.status} {exchange.response[:300]}", markup=False)
    if grade.failing() and grade.log:
        out.print(f"The end of the service's output:\n{grade.log[-LOG_SHOWN:]}", markup=False)
    out.print(
        f"pass {_yes(grade.passed)}, secure pass {_yes(grade.secure_passed)}, "
        f"check score {grade.score:.1%}, {grade.seconds:.1f} s"
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def proven(proofs: list[Proof]) -> dict[str, Any]:
    """The document of `prove --json`."""
    return {
        "tasks": [
            {
                "task": one.task.name,
                "solution": {"ok": not one.solution.failing(), "failed": sorted(one.solution.failing())},
                "idle": {"ok": one.idle_fails, "check_score": one.idle.score},
                "mutants": [
                    {
                        "name": mutant.name,
                        "caught_by": sorted(mutant.caught_by),
                        "expected": sorted(mutant.expected),
                        "ok": mutant.ok,
                    }
                    for mutant in one.mutants
                ],
                "checks_without_mutant": without_mutant(one.task),
                "catches": one.catches(),
                "complaints": list(one.complaints()),
                "ok": one.ok,
            }
            for one in proofs
        ],
        "ok": all(one.ok for one in proofs),
    }


def show_proofs(out: Console, proofs: list[Proof]) -> None:
    for one in proofs:
        table = Table("check", "kind", "mutants that it caught", title=f"{one.task.name}: what each check has caught")
        catches = one.catches()
        for check in one.task.checks:
            table.add_row(check.name, check.kind, ", ".join(catches[check.name]) or "-")
        out.print(table)
    for one in proofs:
        caught = sum(mutant.ok for mutant in one.mutants)
        idle = "fails" if one.idle_fails else "PASSES"
        solution = "passes" if not one.solution.failing() else "FAILS"
        verdict = "proven" if one.ok else "NOT PROVEN"
        out.print(
            f"{one.task.name}: idle {idle}, solution {solution}, "
            f"{caught} of {len(one.mutants)} mutants caught by exactly what they name: {verdict}",
            markup=False,
        )
        for complaint in one.complaints():
            out.print(f"  {complaint}", markup=False)


def listed(tasks: list[Task]) -> dict[str, Any]:
    """The document of `list --json`."""
    return {
        "tasks": [
            {
                "task": task.name,
                "title": task.title,
                "difficulty": task.difficulty,
                "exercises": list(task.exercises),
                "checks": [
                    {"name": check.name, "kind": check.kind, "cwe": check.cwe, "proves": check.proves}
                    for check in task.checks
                ],
                "mutants": len(task.mutants),
            }
            for task in tasks
        ],
        "arms": ["pack", "bare"],
    }


def show_list(out: Console, tasks: list[Task]) -> None:
    table = Table("task", "title", "difficulty", *(kind.value for kind in Kind), "mutants")
    for task in tasks:
        count = Counter(check.kind for check in task.checks)
        table.add_row(
            task.name, task.title, task.difficulty, *(str(count[kind]) for kind in Kind), str(len(task.mutants))
        )
    out.print(table)
    out.print("Arms: pack (this repository's plugin), bare (nothing loaded).")
