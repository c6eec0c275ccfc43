import re
import subprocess
import tomllib

import pytest
from tiny import write_tiny_task

from harness import contract, sandbox, tasks


@pytest.fixture
def task(tmp_path):
    write_tiny_task(tmp_path)
    return tasks.load("tiny", tmp_path)


def at_hand():
    return dict(entry.rsplit(" ", 1) for entry in contract.packages().split(", "))


def test_arms_differ_in_the_first_line_only(task):
    bare, _, told = contract.prompt(task, None).partition("\n")
    packed, _, told_too = contract.prompt(task, "fastapi-pack:fastapi-backend-developer").partition("\n")
    assert told == told_too
    assert bare == "Do the following in this folder."
    assert packed == "Use the fastapi-backend-developer agent to do the following in this folder."


def test_an_agent_is_told_the_instruction_and_how_the_service_is_run(task):
    told = contract.prompt(task, None)
    assert task.instruction in told
    assert "The service is `app.main:app`" in told
    assert "under Python 3.11" in told
    assert f"packages are at hand: {contract.packages()}.\n" in told
    assert not re.search(r"[{}]", told)


def test_an_agent_is_told_nothing_of_the_checks(task):
    told = contract.prompt(task, None)
    assert not re.search(r"\b(check|test_|grade|judge|mutant|score)", told.replace("pytest", ""))
    assert not any(check.name in told for check in task.checks)


def test_versions_are_those_of_the_services_environment():
    python = sandbox.SERVICE_ENVIRONMENT / "bin" / "python"
    code = "import fastapi, pydantic, sqlalchemy as s; print(fastapi.__version__, pydantic.VERSION, s.__version__)"
    ran = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    found = at_hand()
    assert ran.stdout.split() == [found["fastapi"], found["pydantic"], found["sqlalchemy"]]


def test_every_name_is_at_hand():
    assert set(at_hand()) == set(contract.NAMED)


def test_whatever_the_locked_group_asks_for_is_named():
    group = tomllib.loads((sandbox.ROOT / "pyproject.toml").read_text())["dependency-groups"]["service"]
    asked = {re.match(r"[A-Za-z0-9-]+", entry).group() for entry in group}
    assert len(asked) > 20
    assert asked <= set(contract.NAMED)


def test_an_environment_without_packages_is_refused(tmp_path):
    with pytest.raises(sandbox.SandboxError, match=r"no packages.*run scripts/eval"):
        contract.packages(tmp_path)
