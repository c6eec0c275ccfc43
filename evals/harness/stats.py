"""Trials -> headline figures. Trials that infrastructure ended are counted, and left out of every average."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean, median

from .model import Trial


def pass_at(k: int, trials: int, passed: int) -> float | None:
    """Chance that at least one of k trials passes, estimated without bias; None where there are fewer than k.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", 2021.
    """
    if trials < k:
        return None
    return 1 - comb(trials - passed, k) / comb(trials, k)


def pass_all(k: int, trials: int, passed: int) -> float | None:
    """Chance that all of k trials pass (pass^k); None where there are fewer than k."""
    if trials < k:
        return None
    return comb(passed, k) / comb(trials, k)


@dataclass(frozen=True)
class Figures:
    """One arm. Rates are 0 to 1, means over tasks of the means over their trials; medians are over trials."""

    arm: str
    trials: int
    left_out: int
    tasks: int
    passed: float
    secure_passed: float
    check_score: float
    pass_all_k: float | None
    k: int
    seconds: float
    turns: float
    tokens: float
    cost_usd: float


def figures(arm: str, trials: Sequence[Trial]) -> Figures:
    """The headline of one arm, from all of its trials."""
    counted = [trial for trial in trials if trial.status.counts and trial.grade is not None]
    by_task: dict[str, list[Trial]] = defaultdict(list)
    for trial in counted:
        by_task[trial.task].append(trial)
    k = min((len(group) for group in by_task.values()), default=0)
    reliable = [pass_all(k, len(group), sum(_secure(one) for one in group)) for group in by_task.values()]
    return Figures(
        arm=arm,
        trials=len(trials),
        left_out=len(trials) - len(counted),
        tasks=len(by_task),
        passed=_mean(_mean(one.grade.passed for one in group if one.grade) for group in by_task.values()),
        secure_passed=_mean(_mean(_secure(one) for one in group) for group in by_task.values()),
        check_score=_mean(_mean(one.grade.score for one in group if one.grade) for group in by_task.values()),
        pass_all_k=_mean(value for value in reliable if value is not None) if k > 1 else None,
        k=k,
        seconds=_median(one.seconds for one in counted),
        turns=_median(one.usage.turns for one in counted),
        tokens=_median(one.usage.tokens for one in counted),
        cost_usd=_median(one.usage.cost_usd for one in counted),
    )


def _secure(trial: Trial) -> bool:
    return trial.grade is not None and trial.grade.secure_passed


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return fmean(known) if known else 0.0


def _median(values: Iterable[float]) -> float:
    known = list(values)
    return float(median(known)) if known else 0.0
