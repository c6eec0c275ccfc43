from dataclasses import replace

import pytest
import rig
from tiny import APP, MUTANTS, write_tiny_task

from harness import proof, tasks
from harness.grade import GraderError
from harness.model import Check, CheckResult, Grade, Kind, Limits, Mutant, Outcome
from harness.proof import MutantProof, Proof

ANSWERS = {
    "idle": "body = b'nothing'",
    "solution": "body = b'hello' if path == '/' else path.encode()",
}
CHECKS = """
def test_echoes(client):
    assert client.get("/x").text == "/x"

def test_greets(client):
    assert client.get("/").text == "hello"
"""


def mutant(name, find, replaced, *caught_by):
    return Mutant(name, "app/main.py", find, replaced, frozenset(caught_by))


@pytest.fixture
def task(tmp_path):
    """A task without a framework, whose proof takes a second or two for each answer."""
    made = rig.made_task(tmp_path / "greet", CHECKS)
    rig.write(made.starter, {"README.md": "Greet."})
    rig.write(made.solution, rig.app(answer=ANSWERS["solution"]))
    mutants = (mutant("rude", "'hello' if", "'go away' if", "greets"), mutant("deaf", "path.encode()", "b''", "echoes"))
    return replace(made, mutants=mutants)


def prove(task, grader, heard=None, **options):
    heard = [] if heard is None else heard
    (made,) = proof.prove([task], grader, jobs=2, done=heard.append, **options)
    return made


@pytest.mark.usefixtures("nothing_left")
def test_a_good_task_is_proven(task, grader):
    heard = []
    made = prove(task, grader, heard)
    assert list(made.complaints()) == []
    assert (made.ok, made.idle_fails, made.partial) == (True, True, False)
    assert sorted(heard) == ["greet: deaf", "greet: idle", "greet: rude", "greet: solution"]
    assert made.catches() == {"echoes": ["deaf"], "greets": ["rude"]}
    assert [one.name for one in made.mutants] == ["rude", "deaf"]


@pytest.mark.usefixtures("nothing_left")
def test_every_weakness_of_a_task_is_told(task, grader):
    weak = replace(
        task,
        mutants=(
            mutant("unseen", "'hello' if", "'hello' if True and", "greets"),
            mutant("too-loud", "path.encode()", "b'hello' * 2; status = 500", "greets"),
            mutant("dead", "b'hello' if", "b'hello' if (", "greets"),
        ),
    )
    lines = "\n".join(prove(weak, grader).complaints())
    assert "greet: no mutant names echoes; nothing shows that it can fail" in lines
    assert "greet: mutant unseen: passes ['greets']; fails beside what it names: {}" in lines
    assert "greet: mutant too-loud: passes ['greets']; fails beside what it names: {'echoes'" in lines
    assert "greet: mutant dead: passes []; fails beside what it names: {'echoes': 'did not run: " in lines


@pytest.mark.usefixtures("nothing_left")
def test_some_mutants_can_be_asked_for_alone(task, grader):
    made = prove(task, grader, only=frozenset({"deaf"}))
    assert ([one.name for one in made.mutants], made.partial, made.ok) == (["deaf"], True, True)


@pytest.mark.usefixtures("nothing_left")
def test_a_grading_that_fails_ends_the_proof(task, grader):
    rig.write(task.checks_folder, {"test_more.py": "import nothing_of_the_kind"})
    with pytest.raises(GraderError, match="the checks can't be loaded"):
        prove(task, grader)


def test_the_tiny_task_is_proven(tmp_path, grader, nothing_left):
    write_tiny_task(tmp_path)
    task = tasks.load("tiny", tmp_path)
    made = prove(task, grader)
    assert list(made.complaints()) == []
    assert {one.name for one in made.mutants} == {one["name"] for one in tasks.yaml.safe_load(MUTANTS)}
    assert "create_async_engine" in APP


def grade(**outcomes):
    return Grade(tuple(CheckResult(name, Kind.FUNCTIONAL, Outcome(said), "why") for name, said in outcomes.items()))


def test_an_idle_answer_must_fail_and_the_solution_pass(task):
    task = replace(task, checks=(Check("a", Kind.FUNCTIONAL, ""),), limits=Limits(), mutants=())
    made = Proof(task, grade(a="passed"), grade(a="missing"), (), partial=True)
    assert list(made.complaints()) == [
        "greet: the untouched starter passes; the checks ask for nothing",
        "greet: the solution does not pass a: why",
    ]
    assert (made.ok, made.idle_fails) == (False, False)


def test_a_mutant_is_caught_by_exactly_what_it_names():
    for caught, ok in (({"a"}, True), ({"a", "b"}, False), (set(), False), ({"b"}, False)):
        assert MutantProof("m", frozenset({"a"}), frozenset(caught), {}).ok is ok
