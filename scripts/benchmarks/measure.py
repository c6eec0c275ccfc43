"""How costs are taken."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3


def cpu_seconds() -> float:
    """CPU of this process and of every descendant that has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cost(work: Callable[[], object]) -> float:
    """CPU seconds of `work` and of the programs that it ran."""
    before = cpu_seconds()
    work()
    return cpu_seconds() - before


def wall(work: Callable[[], object]) -> float:
    """Seconds on the clock that `work` took."""
    before = time.monotonic()
    work()
    return time.monotonic() - before


def usual(measure: Callable[[Callable[[], object]], float], work: Callable[[], object]) -> float:
    """The median of `ROUNDS` measurements of `work`."""
    return median(measure(work) for _ in range(ROUNDS))
