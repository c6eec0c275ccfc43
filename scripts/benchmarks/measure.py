"""How costs are taken."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3
SAMPLE_S = 0.05


def cpu_seconds() -> float:
    """CPU so far of this process, its living descendants, and those that were waited for."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in own) + sum(map(_spent, _descendants(os.getpid())))


def _descendants(process: int) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in map(int, file.read_text().split()):
                yield child
                yield from _descendants(child)


def _spent(process: int) -> float:
    """CPU seconds of a process and of the children that it waited for; see proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def cost(work: Callable[[], object]) -> float:
    """CPU seconds of `work` and of the programs that it ran.

    Sampled while it runs: what is killed inside a sandbox, nobody waits for, and its time would be missing at the end.
    """
    total, last, ended = 0.0, cpu_seconds(), threading.Event()

    def sample() -> None:
        nonlocal total, last
        while not ended.wait(SAMPLE_S):
            now = cpu_seconds()
            total, last = total + max(0.0, now - last), now

    with ThreadPoolExecutor(1) as pool:
        sampling = pool.submit(sample)
        try:
            work()
        finally:
            ended.set()
        sampling.result()
    return total + max(0.0, cpu_seconds() - last)


def wall(work: Callable[[], object]) -> float:
    """Seconds on the clock that `work` took."""
    before = time.monotonic()
    work()
    return time.monotonic() - before


def usual(measure: Callable[[Callable[[], object]], float], work: Callable[[], object]) -> float:
    """The median of `ROUNDS` measurements of `work`."""
    return median(measure(work) for _ in range(ROUNDS))
