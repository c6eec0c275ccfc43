"""Results -> documents for machines and tables for people. Computes nothing that a figure depends on."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .model import Grade, Kind, Outcome, Status, Task, Trial
from .proof import Proof
from .results import trial_document
from .stats import Figures, figures
from .tasks import without_mutant

MARK = {Outcome.PASSED: "[green]passed[/]", Outcome.FAILED: "[red]failed[/]", Outcome.MISSING: "[red]missing[/]"}
LOG_SHOWN = 1500


def graded(task: Task, grade: Grade) -> dict[str, Any]:
    """One trial without an arm, as `grade --json` prints it."""
    document = trial_document(Trial(task.name, "", 1, Status.COMPLETED, grade))
    del document["arm"]
    return document | {"log": grade.log}


def show_grade(out: Console, task: Task, grade: Grade) -> None:
    table = Table("check", "kind", "outcome", "message", title=task.name)
    for check in grade.checks:
        table.add_row(check.name, check.kind, MARK[check.outcome], escape(check.message[:400]))
    out.print(table)
    for check in grade.checks:
        for exchange in check.exchanges:
            out.print(
                f"{check.name}: {exchange.method} {exchange.url} {exchange.request[:300]}", markup=False, soft_wrap=True
            )
            out.print(f"    -> {exchange.status} {exchange.response[:300]}", markup=False, soft_wrap=True)
    if grade.failing() and grade.log:
        out.print(f"The end of the service's output:\n{grade.log[-LOG_SHOWN:]}", markup=False, soft_wrap=True)
    out.print(
        f"pass {_yes(grade.passed)}, secure pass {_yes(grade.secure_passed)}, "
        f"check score {grade.score:.1%}, {grade.seconds:.1f} s",
        soft_wrap=True,
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
            soft_wrap=True,
        )
        for complaint in one.complaints():
            out.print(f"  {complaint}", markup=False, soft_wrap=True)


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
            task.name, escape(task.title), task.difficulty, *(str(count[kind]) for kind in Kind), str(len(task.mutants))
        )
    out.print(table)
    out.print("Arms: pack (this repository's plugin), bare (nothing loaded).")


def summary(trials: list[Trial]) -> list[Figures]:
    """The headline of each arm, in the order in which they first appear."""
    arms = list(dict.fromkeys(trial.arm for trial in trials))
    return [figures(arm, [trial for trial in trials if trial.arm == arm]) for arm in arms]


def ran(mode: str, trials: list[Trial], stopped: str | None) -> dict[str, Any]:
    """The document of `run --json`."""
    return {
        "mode": mode,
        "arms": list(dict.fromkeys(trial.arm for trial in trials)),
        "tasks": list(dict.fromkeys(trial.task for trial in trials)),
        "trials": [trial_document(trial) for trial in trials],
        "summary": [_figures_document(one) for one in summary(trials)],
        "stopped": stopped,
    }


def _figures_document(one: Figures) -> dict[str, Any]:
    figures = {
        "pass@1": one.passed,
        "secure_pass@1": one.secure_passed,
        "check_score": one.check_score,
        "secure_pass^k": one.pass_all_k,
        "k": one.k,
        "median_seconds": one.seconds,
        "median_turns": one.turns,
        "median_tokens": one.tokens,
        "median_cost_usd": one.cost_usd,
    }
    # An arm of which nothing counts has no figures; a zero would be one.
    known = figures if one.tasks else dict.fromkeys(figures)
    return {"arm": one.arm, "trials": one.trials, "left_out": one.left_out, "tasks": one.tasks, **known}


def show_run(out: Console, mode: str, trials: list[Trial], stopped: str | None) -> None:
    """What failed, then a table of arms and one of tasks."""
    for trial in trials:
        _show_failures(out, trial)
    if stopped:
        out.print(f"Stopped early: {stopped}", markup=False, soft_wrap=True)
    note = "" if mode == "live" else " (scripted: the model's part was played, this is no model's score)"
    arms = Table(
        "arm", "trials", "pass", "secure pass", "checks", "time", "turns", "tokens", "cost", title=f"Arms{note}"
    )
    for one in summary(trials):
        kept = f"{one.trials - one.left_out} of {one.trials}" if one.left_out else str(one.trials)
        if not one.tasks:
            arms.add_row(one.arm, kept, *["-"] * 7)
            continue
        secure = f"{one.secure_passed:.0%}" + ("" if one.pass_all_k is None else f" (^{one.k} {one.pass_all_k:.0%})")
        arms.add_row(one.arm, kept, f"{one.passed:.0%}", secure, f"{one.check_score:.1%}", f"{one.seconds:.1f} s",
                     f"{one.turns:g}", f"{one.tokens:g}", f"${one.cost_usd:.2f}")  # fmt: skip
    out.print(arms)
    table = Table("task", "arm", "pass", "secure pass", "checks passed", "status", title=f"Tasks, {mode}")
    for name in dict.fromkeys(trial.task for trial in trials):
        for arm in dict.fromkeys(trial.arm for trial in trials):
            group = [trial for trial in trials if (trial.task, trial.arm) == (name, arm)]
            if group:
                table.add_row(name, arm, *_cells(arm, group))
    out.print(table)


def _cells(arm: str, group: list[Trial]) -> list[str]:
    one = figures(arm, group)
    status = ", ".join(sorted({trial.status.value for trial in group}))
    if not one.tasks:
        return ["-", "-", "-", status]
    return [f"{one.passed:.0%}", f"{one.secure_passed:.0%}", f"{one.check_score:.1%}", status]


def _show_failures(out: Console, trial: Trial) -> None:
    place = f"{trial.task}, {trial.arm}, trial {trial.number}"
    if not trial.status.counts:
        out.print(f"{place}: {trial.status}, left out: {trial.error}", markup=False, soft_wrap=True)
    if trial.grade is None:
        return
    for check in trial.grade.checks:
        if check.outcome is not Outcome.PASSED:
            out.print(f"{place}: {check.name} {check.outcome}: {check.message[:300]}", markup=False, soft_wrap=True)
    if trial.grade.failing() and trial.grade.log:
        out.print(
            f"{place}: the end of the service's output:\n{trial.grade.log[-LOG_SHOWN:]}", markup=False, soft_wrap=True
        )
