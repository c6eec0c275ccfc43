from itertools import combinations
from math import comb

import pytest

from harness.model import CheckResult, Grade, Kind, Outcome, Status, Trial, Usage
from harness.stats import figures, pass_all, pass_at

GOOD = (("works", Kind.FUNCTIONAL, True), ("guards", Kind.SECURITY, True))
LEAKY = (("works", Kind.FUNCTIONAL, True), ("guards", Kind.SECURITY, False))
BROKEN = (("works", Kind.FUNCTIONAL, False), ("guards", Kind.SECURITY, False))


def trial(checks=GOOD, task="tiny", status=Status.COMPLETED, seconds=1.0, **usage):
    results = tuple(
        CheckResult(name, kind, Outcome.PASSED if passed else Outcome.FAILED) for name, kind, passed in checks or ()
    )
    grade = Grade(results) if checks else None
    return Trial(task, "pack", 1, status, grade, usage=Usage(**usage), seconds=seconds)


@pytest.mark.parametrize(("trials", "passed"), [(n, c) for n in range(1, 7) for c in range(n + 1)])
def test_both_estimates_are_the_share_of_draws(trials, passed):
    outcomes = [True] * passed + [False] * (trials - passed)
    for k in range(1, trials + 1):
        draws = list(combinations(outcomes, k))
        assert len(draws) == comb(trials, k)
        assert pass_at(k, trials, passed) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))
        assert pass_all(k, trials, passed) == pytest.approx(sum(all(draw) for draw in draws) / len(draws))


def test_fewer_trials_than_k_have_no_estimate():
    assert pass_at(3, 2, 2) is None
    assert pass_all(3, 2, 2) is None


def test_an_arm_without_trials_has_figures_of_nothing():
    made = figures("pack", [])
    assert (made.arm, made.trials, made.left_out, made.tasks, made.k, made.pass_all_k) == ("pack", 0, 0, 0, 0, None)
    assert (made.passed, made.secure_passed, made.check_score, made.seconds, made.cost_usd) == (0, 0, 0, 0, 0)


def test_rates_are_means_over_tasks_and_not_over_trials():
    made = figures("pack", [trial(task="a"), trial(BROKEN, task="b"), trial(BROKEN, task="b"), trial(LEAKY, task="b")])
    assert made.tasks == 2
    assert made.passed == pytest.approx((1 + 1 / 3) / 2)
    assert made.secure_passed == pytest.approx((1 + 0) / 2)
    assert made.check_score == pytest.approx((1 + 0.5 / 3) / 2)


@pytest.mark.parametrize("status", [status for status in Status if not status.counts])
def test_what_infrastructure_ended_is_counted_and_left_out(status):
    made = figures("pack", [trial(), trial(None, status=status), trial(BROKEN, status=status, seconds=900)])
    assert (made.trials, made.left_out, made.tasks) == (3, 2, 1)
    assert (made.passed, made.check_score, made.seconds) == (1, 1, 1)


def test_a_trial_that_reached_its_limit_counts():
    made = figures("pack", [trial(), trial(BROKEN, status=Status.LIMIT)])
    assert (made.left_out, made.passed) == (0, 0.5)


def test_a_trial_without_grade_is_left_out():
    assert figures("pack", [trial(None)]).left_out == 1


def test_reliability_takes_the_smallest_number_of_trials_of_a_task():
    trials = [trial(task="a"), trial(task="a"), trial(LEAKY, task="a"), trial(task="b"), trial(task="b")]
    made = figures("pack", trials)
    assert made.k == 2
    assert made.pass_all_k == pytest.approx((1 / 3 + 1) / 2)
    assert figures("pack", trials[2:4]).pass_all_k is None


def test_costs_are_medians_over_all_trials():
    made = figures(
        "pack",
        [
            trial(seconds=1, turns=3, input_tokens=10, output_tokens=1, cost_usd=0.1),
            trial(seconds=2, turns=5, input_tokens=20, output_tokens=2, cost_usd=0.2),
            trial(seconds=900, turns=90, input_tokens=9000, output_tokens=90, cost_usd=9.0, task="b"),
        ],
    )
    assert (made.seconds, made.turns, made.tokens, made.cost_usd) == (2, 5, 22, 0.2)
