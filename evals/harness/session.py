"""Many trials: every task with every arm, some at once, until all are done or the money is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from . import trial
from .agents import Arm, Claude, Live, Setting
from .grade import Grader
from .model import Task, Trial
from .results import Store


@dataclass(frozen=True)
class Plan:
    """What is to be run. `max_usd` caps the sum; it is checked before each launch."""

    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    trials: int
    jobs: int
    max_usd: float
    live: Live | None = None

    @property
    def mode(self) -> str:
        return "live" if self.live else "scripted"

    def launches(self) -> Iterator[tuple[Task, Arm, int]]:
        """Arms side by side, so that a slow hour hits all of them alike."""
        for number in range(1, self.trials + 1):
            for task in self.tasks:
                for arm in self.arms:
                    yield task, arm, number

    @property
    def total(self) -> int:
        return self.trials * len(self.tasks) * len(self.arms)


@dataclass
class Outcome:
    """What was run. `stopped` says why not everything was."""

    trials: list[Trial] = field(default_factory=list)
    stopped: str | None = None

    @property
    def spent_usd(self) -> float:
        return sum(one.usage.cost_usd for one in self.trials)


def run(plan: Plan, grader: Grader, store: Store, done: Callable[[Trial], None]) -> Outcome:
    """Run the plan, saving each trial as it ends. `done` hears of each."""
    outcome = Outcome()
    launches = plan.launches()
    running: set[Future[Trial]] = set()
    with ThreadPoolExecutor(plan.jobs) as pool:
        while True:
            if plan.live is not None and outcome.spent_usd >= plan.max_usd:
                left = plan.total - len(outcome.trials) - len(running)
                outcome.stopped = f"the cap of ${plan.max_usd:g} is reached; {left} trials were not started"
                launches = iter(())
            for task, arm, number in islice(launches, plan.jobs - len(running)):
                running.add(pool.submit(_one, plan, grader, store, task, arm, number))
            if not running:
                return outcome
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                outcome.trials.append(future.result())
                done(outcome.trials[-1])


def _one(plan: Plan, grader: Grader, store: Store, task: Task, arm: Arm, number: int) -> Trial:
    with TemporaryDirectory(prefix="trial-", dir=grader.scratch) as scratch:
        place = Path(scratch)
        setting = Setting(place, grader.etc, grader.confined, max_usd=plan.max_usd)
        agent = Claude(arm, setting, plan.live)
        made, work = trial.run(task, agent, grader, place / "workspace", arm=arm.name, number=number)
        store.save(made, work, place / "workspace")
    return made
