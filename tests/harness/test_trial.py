from dataclasses import dataclass

import pytest
import rig

from harness import trial
from harness.agents import Idle, Solution
from harness.model import Status, Usage, Work


@pytest.fixture
def task(tmp_path, nothing_left):
    made = rig.made_task(tmp_path / "greet")
    rig.write(made.starter, {"README.md": "Greet."})
    rig.write(made.solution, rig.app())
    return made


@dataclass(frozen=True)
class Ended:
    """An agent that ends in a way of its own, with the right answer in the folder."""

    status: Status

    def work(self, task, folder):
        Solution().work(task, folder)
        return Work(self.status, Usage(turns=3), 1.5, "why", skills_loaded=("a-skill",))


def run(task, agent, grader, tmp_path):
    return trial.run(task, agent, grader, tmp_path / "workspace", arm="bare", number=2)


def test_what_the_agent_left_is_judged(task, grader, tmp_path):
    made, work = run(task, Solution(), grader, tmp_path)
    assert (made.task, made.arm, made.number, made.status) == ("greet", "bare", 2, Status.COMPLETED)
    assert made.grade.passed
    assert made.error is None
    assert work.status is Status.COMPLETED


def test_an_agent_that_does_nothing_has_a_grade_too(task, grader, tmp_path):
    made, _ = run(task, Idle(), grader, tmp_path)
    assert made.status is Status.COMPLETED
    assert made.grade.failing() == {"greets"}


@pytest.mark.parametrize("status", list(Status))
def test_only_an_end_that_counts_is_judged(task, grader, tmp_path, status):
    made, _ = run(task, Ended(status), grader, tmp_path)
    assert (made.status, made.error, made.usage.turns, made.seconds) == (status, "why", 3, 1.5)
    assert made.skills_loaded == ("a-skill",)
    assert (made.grade is not None) == status.counts == (status in (Status.COMPLETED, Status.LIMIT))


def test_a_grading_that_fails_is_no_score(task, grader, tmp_path):
    rig.write(task.checks_folder, {"test_broken.py": "import nothing_of_the_kind"})
    made, _ = run(task, Solution(), grader, tmp_path)
    assert (made.status, made.grade) == (Status.GRADER_FAILED, None)
    assert "No module named 'nothing_of_the_kind'" in made.error
