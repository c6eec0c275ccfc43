from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from harness.model import CheckResult, Grade, Kind, Limits, Outcome, Status, Task, Trial, Usage

PASSED, FAILED, MISSING = Outcome.PASSED, Outcome.FAILED, Outcome.MISSING


def grade(**outcomes):
    """`functional=PASSED` is a check of that kind; a list holds several."""
    checks = []
    for kind, told in outcomes.items():
        for number, outcome in enumerate(told if isinstance(told, list) else [told]):
            checks.append(CheckResult(f"{kind}_{number}", Kind(kind), outcome))
    return Grade(tuple(checks))


@pytest.mark.parametrize(
    ("made", "passed", "secure", "score"),
    [
        (grade(functional=PASSED, security=PASSED), True, True, 1.0),
        (grade(functional=PASSED, security=FAILED), True, False, 0.5),
        (grade(functional=PASSED, security=MISSING), True, False, 0.5),
        (grade(functional=FAILED, security=PASSED), False, False, 0.5),
        (grade(functional=[PASSED, MISSING], security=PASSED), False, False, 2 / 3),
        (grade(functional=PASSED, security=PASSED, robustness=FAILED, docs=FAILED), True, True, 0.5),
        (grade(functional=PASSED), True, True, 1.0),
        (grade(security=PASSED), False, False, 1.0),
        (grade(performance=PASSED), False, False, 1.0),
        (Grade(()), False, False, 0.0),
    ],
)
def test_a_grade_passes_on_functional_and_is_secure_on_both(made, passed, secure, score):
    assert (made.passed, made.secure_passed, made.score) == (passed, secure, pytest.approx(score))


def test_whatever_did_not_pass_is_failing():
    made = grade(functional=[PASSED, FAILED], security=MISSING)
    assert made.failing() == {"functional_1", "security_0"}
    assert grade(functional=PASSED).failing() == frozenset()


def test_only_the_two_ends_of_an_agent_count_as_scores():
    assert {status for status in Status if status.counts} == {Status.COMPLETED, Status.LIMIT}


def test_tokens_are_those_of_both_directions():
    assert Usage(turns=3, input_tokens=10, output_tokens=5).tokens == 15


def test_a_task_knows_its_folders():
    task = Task("tiny", Path("tiny"), "", "easy", (), "", Limits(), (), {}, (), ())
    assert (task.starter, task.solution, task.checks_folder) == (
        Path("tiny/starter"),
        Path("tiny/solution"),
        Path("tiny/checks"),
    )


@pytest.mark.parametrize("value", [grade(functional=PASSED), Usage(), Limits(), Trial("t", "a", 1, Status.LIMIT, None)])
def test_values_are_frozen(value):
    with pytest.raises(FrozenInstanceError):
        value.seconds = 1
