"""One grader, with its cluster, for each process of the test run; and proof that nothing is left of a grading."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import rig

from harness import grade, sandbox


@pytest.fixture(scope="session")
def graders():
    """Both kinds at once, so that no cluster starts in the middle of a test that counts processes."""
    rig.DATA.mkdir(exist_ok=True)
    rig.adopt_orphans()
    assert sandbox.obstacle() is None, "these tests need a machine where bubblewrap works"
    with grade.grader(confined=True) as confined, grade.grader(confined=False) as unconfined:
        yield {True: _measured(confined), False: _measured(unconfined)}


def _measured(grader):
    return rig.MeasuredGrader(**{field.name: getattr(grader, field.name) for field in fields(grader)})


@pytest.fixture(scope="session")
def grader(graders):
    return graders[True]


@pytest.fixture(scope="session")
def unconfined(graders):
    return graders[False]


@pytest.fixture
def nothing_left(graders):
    """After the test there are the processes, the databases and the temporary files of before."""

    def state():
        found = {}
        for one in graders.values():
            found |= dict.fromkeys(one.scratch.iterdir(), "")
            with one.cluster.connect() as admin:
                found |= {name: "" for (name,) in admin.execute("select datname from pg_database").fetchall()}
        return found

    before, running = state(), rig.running()
    yield
    left = rig.newcomers(running)
    rig.end(left)
    assert not left, f"processes were left: {left}"
    after = state()
    assert after == before, f"left: {sorted(map(str, set(after) ^ set(before)))}"


@pytest.fixture
def judge(graders, nothing_left, tmp_path):
    """Grade some files against some checks: `judge(files, checks, confined=True, start_s=..., ...)`."""
    from dataclasses import replace

    def judge(files, checks=rig.GREETS, *, confined=True, services=(), environment=None, **limits):
        number = len(list(tmp_path.iterdir()))
        task = rig.made_task(tmp_path / f"task-{number}", checks, services=services, environment=environment or {})
        task = replace(task, limits=replace(task.limits, **limits))
        workspace = files if isinstance(files, Path) else rig.write(tmp_path / f"answer-{number}", files)
        return graders[confined].grade(task, workspace)

    return judge


@pytest.fixture
def here():
    """What stands outside of every sandbox: to be looked for from inside."""
    return SimpleNamespace(repository=sandbox.ROOT, home=Path.home())
