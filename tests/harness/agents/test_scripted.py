import pytest
import rig
from played import write_pack

from harness.agents import Arm, arm
from harness.agents.messages import MAIN, Refusal, Request, text, tool
from harness.agents.scripted import RUN_TESTS, Script, ScriptedModel, script


@pytest.fixture
def task(tmp_path):
    made = rig.made_task(tmp_path / "greet")
    rig.write(made.starter, {"app/main.py": "# starter", "app/__init__.py": "", "README.md": "hello"})
    files = {"app/main.py": "new", "app/__init__.py": "", "tests/__init__.py": "", "tests/test_it.py": "t"}
    rig.write(made.solution, files | {"app/__pycache__/x.py": "no", "old.pyc": "no", "empty/.gitkeep": ""})
    return made


def calls(turns):
    return [(block.name, block.input) for turn in turns for block in turn if block.type == "tool_use"]


def test_the_conversation_leads_to_the_files(task):
    made = script(task, Arm("bare"), None, task.solution, "/workspace")
    assert made.sub == ()
    (read, written, tests, run) = calls(made.main)
    assert read == ("Read", {"file_path": "/workspace/app/main.py"})
    assert written == ("Write", {"file_path": "/workspace/app/main.py", "content": "new"})
    assert tests == ("Write", {"file_path": "/workspace/tests/test_it.py", "content": "t"})
    assert run[1]["command"].startswith("mkdir -p $(dirname 'app/__init__.py' 'tests/__init__.py') && touch ")
    assert run[1]["command"].endswith(RUN_TESTS)
    assert "exit code 0" in made.main[-1][0].text


def test_a_pack_with_an_agent_is_delegated_to(task, tmp_path):
    pack = arm(f"small={write_pack(tmp_path / 'pack')}")
    rig.write(tmp_path / "pack", {"skills/building/references/b.md": "b", "skills/building/references/a.md": "a"})
    made = script(task, pack, "/opt/pack", task.solution, "/workspace")
    ((name, call),) = calls(made.main)
    assert (name, call["subagent_type"], call["prompt"]) == ("Agent", "small-pack:builder", "Greet.")
    skill, reference, *work = calls(made.sub)
    assert skill == ("Skill", {"skill": "small-pack:building"})
    assert reference == ("Read", {"file_path": "/opt/pack/skills/building/references/a.md"})
    assert [one[0] for one in work] == ["Read", "Write", "Write", "Bash"]


def test_the_skill_that_the_task_exercises_is_loaded(task, tmp_path):
    from dataclasses import replace

    pack = arm(f"small={write_pack(tmp_path / 'pack')}")
    pack = replace(pack, skills={"aaa": "a", "building": "b"})
    made = script(replace(task, exercises=("other", "building")), pack, "/opt/pack", task.solution, "/w")
    assert calls(made.sub)[0] == ("Skill", {"skill": "small-pack:building"})
    made = script(task, pack, "/opt/pack", task.solution, "/w")
    assert calls(made.sub)[0] == ("Skill", {"skill": "small-pack:aaa"})


def test_ids_are_never_used_twice(task, tmp_path):
    pack = arm(f"small={write_pack(tmp_path / 'pack')}")
    made = script(task, pack, "/opt/pack", task.solution, "/workspace")
    ids = [block.id for turn in (*made.main, *made.sub) for block in turn if block.type == "tool_use"]
    assert len(ids) == len(set(ids))


def asked(turn=0, thread=MAIN, *last):
    answers = [{"role": "assistant", "content": []}] * turn
    headers = {} if thread == MAIN else {"x-claude-code-agent-id": thread}
    return Request(headers, {"model": "m", "messages": [*answers, {"role": "user", "content": list(last)}]})


def failed(said):
    return {"type": "tool_result", "is_error": True, "content": said}


@pytest.fixture
def model():
    return ScriptedModel(Script(([text("one"), tool("t", "Bash", command="true")], [text("two")]), ([text("sub")],)))


def test_a_script_is_played_by_thread_and_turn(model):
    first, again, second = model.answer(asked()), model.answer(asked()), model.answer(asked(1))
    assert (first.content, first.stop_reason) == (again.content, "tool_use")
    assert first.id != again.id
    assert second.content[0].text == "two"
    assert model.problems() == ["turn 0 of the sub thread was never asked for"]
    assert model.answer(asked(0, "agent-1")).content[0].text == "sub"
    assert model.problems() == []


OFF = {
    "a turn too many": (asked(2), "turn 2 of the main thread, which has 2"),
    "a turn too many below": (asked(1, "agent-1"), "turn 1 of the sub thread, which has 1"),
    "a second subagent": (asked(0, "agent-2"), "a second subagent, agent-2"),
    "a failed call": (asked(1, MAIN, failed("oh dear")), "a tool call of the main thread failed: oh dear"),
}


@pytest.mark.parametrize("what", OFF)
def test_what_is_not_in_the_script_is_refused_and_told(model, what):
    for request in (asked(), asked(1), asked(0, "agent-1")):
        model.answer(request)
    assert model.problems() == []
    request, said = OFF[what]
    assert model.answer(request) == Refusal(403, "permission_error", f"not in the script: {said}")
    assert model.problems() == [said]


def test_a_script_that_was_not_begun_has_been_left():
    assert len(ScriptedModel(Script(([text("a")], [text("b")]), ([text("c")],))).problems()) == 3
