import pytest
import rig
from played import Player, api, write_pack

from harness import session
from harness.agents import Live, arm
from harness.model import Status
from harness.results import Store
from harness.session import Plan

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def task(tmp_path):
    made = rig.made_task(tmp_path / "greet")
    rig.write(made.starter, {"README.md": "Greet."})
    solution = rig.app(answer="body = b'hello' if path == '/' else b''")
    rig.write(made.solution, {**solution, "tests/test_it.py": "def test_it():\n    pass\n"})
    return made


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "results")


def test_every_task_meets_every_arm_and_is_saved(task, grader, store, tmp_path):
    arms = (arm("bare"), arm(f"small={write_pack(tmp_path / 'pack')}"))
    plan = Plan((task,), arms, trials=1, jobs=2, max_usd=1)
    heard = []
    outcome = session.run(plan, grader, store, heard.append)
    assert (outcome.stopped, plan.mode, plan.total) == (None, "scripted", 2)
    assert sorted((one.arm, one.number, str(one.status)) for one in heard) == [
        ("bare", 1, "completed"),
        ("small", 1, "completed"),
    ]
    assert all(one.grade and one.grade.passed for one in outcome.trials), outcome.trials
    assert {one.arm: one.skills_loaded for one in store.trials()} == {"bare": (), "small": ("building",)}
    assert (store.folder / "greet__small__1" / "workspace" / "app" / "main.py").is_file()
    assert outcome.spent_usd > 0


def test_arms_are_launched_side_by_side(task):
    plan = Plan((task,), (arm("bare"), arm("bare")), trials=2, jobs=1, max_usd=1)
    assert [number for _, _, number in plan.launches()] == [1, 1, 2, 2]
    assert plan.total == 4


def test_no_trial_begins_beyond_the_cap(task, grader, store):
    with api(Player()) as credentials:
        plan = Plan((task,), (arm("bare"),), trials=5, jobs=1, max_usd=0.0002, live=Live(credentials))
        outcome = session.run(plan, grader, store, lambda _: None)
    assert plan.mode == "live"
    assert 0 < len(outcome.trials) < 5
    assert outcome.spent_usd >= 0.0002
    left = 5 - len(outcome.trials)
    assert outcome.stopped == f"the cap of $0.0002 is reached; {left} trials were not started"
    assert {one.status for one in outcome.trials} <= {Status.COMPLETED, Status.LIMIT}
    assert len(store.trials()) == len(outcome.trials)


def test_an_error_of_one_trial_leaves_nothing_behind(task, grader, store):
    # A folder where the store wants to write.
    (store.folder / "greet__bare__1" / "x").mkdir(parents=True)
    plan = Plan((task,), (arm("bare"),), trials=1, jobs=1, max_usd=1)
    with pytest.raises(OSError, match="not empty"):
        session.run(plan, grader, store, lambda _: None)
