import json
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rig
from played import AGENT, Given, Player, api, bash, place, setting, write_pack

from harness import sandbox
from harness.agents import Claude, Live, arm, claude
from harness.agents.messages import MAIN, Refusal, text, tool
from harness.agents.scripted import Script, ScriptedModel
from harness.agents.server import Passed
from harness.model import Status

pytestmark = pytest.mark.usefixtures("nothing_left")
SOLUTION = rig.app(answer="body += path.encode()")
CALL = [text("I call the agent."), tool("toolu_call", "Agent", description="Build", prompt="Build it",
                                        subagent_type="small-pack:builder")]  # fmt: skip


@pytest.fixture
def task(tmp_path):
    made = rig.made_task(tmp_path / "greet")
    rig.write(made.starter, {"README.md": "The starter says hello."})
    rig.write(
        made.solution, {**SOLUTION, "tests/test_app.py": "def test_imports():\n    import app.main  # noqa: F401\n"}
    )
    return replace(made, instruction="Build a service that greets.")


@pytest.fixture
def pack(tmp_path):
    return arm(f"small={write_pack(tmp_path / 'pack')}")


@pytest.fixture
def run(graders, task):
    """One run of the real CLI: `run(arm, model) -> work, workspace's files`."""

    def run(loaded, model, *, confined=True, live=None, **limits):
        with place(graders[confined]) as folder:
            where = setting(graders[confined], folder, **limits)
            agent = Given(loaded, where, model=model) if model else Claude(loaded, where, live)
            work = agent.work(task, folder / "workspace")
            paths = (folder / "workspace").rglob("*")
            files = {path.relative_to(folder / "workspace").as_posix(): path.read_text(errors="replace")
                     for path in paths if path.is_file() and ".git" not in path.parts}  # fmt: skip
        return work, files

    return run


# ---------------------------------------------------------------------- a run that goes well
@pytest.mark.parametrize("confined", [True, False])
def test_the_scripted_model_plays_the_solution_through_the_agent(run, pack, task, confined):
    work, files = run(pack, None, confined=confined)
    assert work.status is Status.COMPLETED, work.error
    assert files["app/main.py"] == SOLUTION["app/main.py"]
    assert (files["app/__init__.py"], files["README.md"]) == ("", "The starter says hello.")
    assert work.skills_loaded == ("building",)
    assert work.usage.turns >= 5
    assert work.usage.input_tokens == 10 * work.usage.turns
    assert work.usage.output_tokens > 0
    assert work.usage.cost_usd > 0
    assert {line["thread"] for line in work.transcript} == {"main", "agent"}
    assert {line["role"] for line in work.transcript} == {"assistant", "user", "notification", "result"}
    assert json.loads(json.dumps(work.transcript))


def test_the_pack_reviews_what_its_agent_writes(run):
    """The next request after a write holds what its audit found, and nothing after that of a clean file."""
    good = "from fastapi import FastAPI\n\napp = FastAPI()\n"
    bad = f"import jwt\n{good}\n\ndef read(token, key):\n    return jwt.decode(token, key)\n"
    call = tool("toolu_call", "Agent", description="Build", prompt="Build it",
                subagent_type="fastapi-pack:fastapi-backend-developer")  # fmt: skip
    writes = [
        [tool(f"toolu_write_{name}", "Write", file_path=f"{sandbox.WORKSPACE}/app/{name}.py", content=code)]
        for name, code in (("clean", good), ("faulty", bad))
    ]
    player = Player([[call]], writes)
    work, files = run(arm("pack"), player)
    assert work.status is Status.COMPLETED, work.error
    assert files["app/faulty.py"] == bad
    sent = {request.turn: request.raw.decode() for request in player.requests if request.thread != MAIN}
    assert "hook additional context" not in sent[1]
    assert "faulty.py:8: FR303 a token is decoded without `algorithms`." in sent[2]


def test_the_bare_arm_has_neither_agent_nor_skill(run):
    player = Player()
    work, _ = run(arm("bare"), player)
    assert (work.status, work.skills_loaded) == (Status.COMPLETED, ())
    (request,) = player.requests
    sent = request.raw.decode()
    assert "Build a service that greets." in sent
    assert "builder" not in sent
    assert "small-pack" not in sent


def test_the_agent_is_called_by_its_prompt_and_has_its_skills(run, pack):
    player = Player([CALL], [[text("I load."), tool("toolu_skill", "Skill", skill="small-pack:building")]])
    work, _ = run(pack, player)
    assert (work.status, work.error, work.skills_loaded) == (Status.COMPLETED, None, ("building",))
    below = [one for one in player.requests if one.thread != "main"]
    assert "You are the builder of the small pack" in below[0].system()
    assert "Every small thing is built from smaller things." in below[1].conversation()
    assert "Use the builder agent" in player.requests[0].conversation()


# ---------------------------------------------------------------------- what the agent can see
WRITES = """
for place in ("/", "/etc", "/usr", "/opt", "/opt/python-env", "/opt/pack", "/dev", "/tmp", "/home/dev", "/dev/shm"):
    try:
        open(f"{place}/x", "w").close()
        print(place)
    except OSError:
        pass
"""
LOOKS = {
    "listing": "ls -A / /root /home /work /opt /srv /mnt 2>/dev/null | sort -u",
    "repository": "cat {repository}/pyproject.toml {repository}/evals/run.py; ls {repository}",
    "checks": "ls {checks} /checks; cat {checks}/test_all.py",
    "home": "ls -A {home}; cat {home}/.bashrc {home}/.profile",
    "scratch": "ls {scratch}",
    "own": "cat /proc/self/environ",
    "first": "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ; tr '\\0' ' ' <$p/cmdline; done 2>/dev/null",
    "interfaces": "grep -o '^ *[a-z0-9]*:' /proc/net/dev",
    "outside": "python -c \"import socket; socket.create_connection(('1.1.1.1', 53), 2)\"",
    "names": "python -c \"import socket; socket.gethostbyname('example.com')\"",
    "server": "python -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8080/v1/models')\"",
    "writes": "python writes.py; touch kept && echo kept",
    "who": "id -u; echo $HOME; git log --format=%s; git config user.name",
    "workspace": "cat README.md; ls -A",
    "pack": "cat /opt/pack/agents/builder.md; ls -A /opt/pack",
}


def test_a_confined_agent_sees_its_workspace_and_the_pack_only(run, pack, task, grader, here, monkeypatch, tmp_path):
    monkeypatch.setenv("PERSONAL_SECRET", "swordfish")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-user")
    places = {"repository": here.repository, "checks": task.checks_folder, "home": here.home, "scratch": grader.scratch}
    rig.write(task.starter, {"writes.py": WRITES})
    commands = {name: command.format(**places) for name, command in LOOKS.items()}
    looks = [bash(index, f"echo {name}:; {command}; exit 0") for index, (name, command) in enumerate(commands.items())]
    reads = [
        tool(f"toolu_read_{index}", "Read", file_path=str(path))
        for index, path in enumerate(
            [here.repository / "pyproject.toml", task.checks_folder / "test_all.py", Path("/workspace/README.md"),
             Path("/opt/pack/skills/building/SKILL.md")]
        )
    ]  # fmt: skip
    # One a turn: what is read side by side comes back in any order.
    player = Player([looks, *([read] for read in reads)])
    # A pack without an agent: then the main thread has its tools, and the pack is there all the same.
    work, files = run(replace(pack, agents={}), player)
    assert (work.status, work.error) == (Status.COMPLETED, None)
    said = {text.partition(":")[0]: text.partition(":")[2] for _, text in player.results()[: len(looks)]}
    assert set(said) == set(LOOKS)
    everything = "\n".join(said.values())
    assert "swordfish" not in everything
    assert "sk-of-the-user" not in everything
    for name in ("repository", "checks", "home"):
        assert "No such file" in said[name] or not said[name].strip(), said[name]
        assert "fastapi-pack" not in said[name]
    assert "test_greets" not in said["checks"]
    assert "No such file" in said["scratch"]
    assert {"checks", "submission", "room"}.isdisjoint(said["listing"].split())
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:8080" in said["own"]
    assert "relay.py" in said["first"]
    assert "PERSONAL" not in said["first"]
    assert said["interfaces"].split() == ["lo:"]
    assert "unreachable" in said["outside"]
    assert "gaierror" in said["names"]
    assert "404" in said["server"]
    assert said["writes"].split()[-1] == "kept"
    assert said["writes"].split() == ["/tmp", "/home/dev", "/dev/shm", "kept"]
    assert said["who"].split() == [str(sandbox.USER_ID), sandbox.HOME, "Start", "dev"]
    assert "The starter says hello." in said["workspace"]
    assert sorted(said["pack"].split("smaller")[0].split()[-3:]) == [".claude-plugin", "agents", "skills"]
    assert "You are the builder" in said["pack"]
    (hidden, no_repository), (no_file, no_checks), (_, readme), (_, skill) = player.results()[len(looks):]  # fmt: skip
    assert hidden
    assert no_file
    assert "fastapi-pack" not in no_repository
    assert "greets" not in no_checks
    assert "The starter says hello." in readme
    assert "Every small thing" in skill
    assert "kept" in files
    assert not {"x", "app/main.py"} & set(files)


def test_an_unconfined_agent_has_an_environment_and_a_home_of_its_own(run, monkeypatch):
    monkeypatch.setenv("PERSONAL_SECRET", "swordfish")
    looks = [bash(0, "env; echo; ls -A $HOME; python -c 'import fastapi; print(fastapi.__name__)'")]
    player = Player([looks])
    work, _ = run(arm("bare"), player, confined=False)
    assert work.status is Status.COMPLETED
    ((failed, said),) = player.results()
    assert not failed
    assert "swordfish" not in said
    assert f"HOME={Path.home()}\n" not in said
    assert said.rstrip().endswith("fastapi")


def test_the_real_key_stays_outside(run):
    """A live run, but what stands behind the proxy is on loopback. It refuses everybody without the real key."""
    player = Player([[bash(0, "env; cat /proc/1/environ /proc/2/environ /proc/self/environ; ls -A $HOME; exit 0")]])
    with api(player, key="sk-real") as credentials:
        work, _ = run(arm("bare"), None, live=Live(credentials, "haiku", "low"))
    assert (work.status, work.error) == (Status.COMPLETED, None)
    assert [one.headers["x-api-key"] for one in player.requests] == ["sk-real"] * 2
    assert "sk-real" not in player.results()[0][1]
    assert "haiku" in player.requests[0].body["model"]


# ---------------------------------------------------------------------- runs that fail
def cut(request):
    """A stream that dies after its first event; without streaming, an answer."""
    if not request.streams:
        return [text("Said at once.")]
    return Passed(200, {"content-type": "text/event-stream"}, [b'event: message_start\ndata: {"type": "mess'])


def always_cut(request):
    return Passed(200, {"content-type": "application/json"}, [b'{"type": "message", "con'])


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (401, 3), (500, 3), (529, 3)])
def test_an_api_that_refuses_is_no_score(run, status, attempts):
    player = Player([Refusal(status, "api_error", "not today")])
    work, _ = run(arm("bare"), player)
    assert work.status is Status.API_FAILED
    assert str(status) in work.error
    assert "not today" in work.error
    assert len(player.requests) == attempts


def test_an_answer_that_breaks_off_is_asked_for_again(run):
    work, _ = run(arm("bare"), Player([cut]))
    assert (work.status, work.error) == (Status.COMPLETED, None)
    assert work.transcript[-1]["content"] == "Said at once."


def test_an_api_that_always_breaks_off_is_no_score(run):
    work, _ = run(arm("bare"), Player([always_cut]))
    assert work.status is Status.API_FAILED, work


def test_an_agent_that_dies_is_no_success(run, pack):
    player = Player([CALL, [text("All is well.")]], [Refusal(403, "permission_error", "not for you")])
    work, _ = run(pack, player)
    assert work.status is Status.SUBAGENT_FAILED
    assert work.error.startswith("the agent ended as failed: ")
    assert "not for you" in work.error


def test_an_agent_at_its_turn_limit_is_at_a_limit(run, tmp_path):
    limited = arm(f"small={write_pack(tmp_path / 'pack', AGENT.format(more='maxTurns: 1' + chr(10)))}")
    work, _ = run(limited, Player([CALL], [[bash(1, "true")], [bash(2, "true")]]))
    assert work.status is Status.LIMIT
    assert "stopped at its 1-turn limit" in work.error


def test_an_agent_that_is_not_called_is_not_loaded(run, pack):
    work, _ = run(pack, Player([[text("I did it myself.")]]))
    assert (work.status, work.error) == (
        Status.AGENT_NOT_LOADED,
        "the agent was never called: no request had its prompt",
    )


def test_an_agent_with_a_broken_file_is_not_loaded(run, tmp_path):
    broken = AGENT.format(more="").replace("name: builder", "name: [builder")
    work, _ = run(arm(f"small={write_pack(tmp_path / 'pack', broken)}"), Player([CALL]))
    assert work.status is Status.AGENT_NOT_LOADED
    assert work.error.startswith("the CLI did not load the agent small-pack:builder: it has [")


def test_a_skill_that_is_not_loaded_is_told(run, pack):
    work, _ = run(replace(pack, skills={**pack.skills, "missing": "marker"}), Player([CALL]))
    assert work.status is Status.AGENT_NOT_LOADED
    assert work.error.startswith("the CLI did not load the skills ['missing']: it has ")


def test_a_skill_whose_text_never_arrives_is_not_loaded(run, pack):
    altered = replace(pack, skills={"building": "a line that the skill does not have"})
    player = Player([CALL], [[text("I load."), tool("toolu_skill", "Skill", skill="small-pack:building")]])
    work, _ = run(altered, player)
    assert (work.status, work.error) == (
        Status.AGENT_NOT_LOADED,
        "the skills ['building'] were called, but no request had their text",
    )


def off_script(*main, sub=()):
    return ScriptedModel(Script(tuple(main), tuple(sub)))


OFF_SCRIPT = {
    "a turn never asked for": (off_script([text("a")], [text("b")]), "turn 1 of the main thread was never asked for"),
    "a request that is not expected": (off_script([bash(1, "true")]), "turn 1 of the main thread, which has 1"),
    "a tool call that fails": (
        off_script([bash(1, "echo oh dear; exit 3")], [text("b")]),
        "a tool call of the main thread failed: Exit code 3\noh dear",
    ),
}


@pytest.mark.parametrize("what", OFF_SCRIPT)
def test_a_conversation_that_leaves_the_script_is_no_score(run, what):
    model, said = OFF_SCRIPT[what]
    work, _ = run(arm("bare"), replace_model(model))
    assert work.status is Status.SCRIPT_FAILED
    assert said in work.error


def replace_model(model):
    return ScriptedModel(model.script)


# ---------------------------------------------------------------------- limits
@pytest.mark.parametrize("confined", [True, False])
def test_the_time_limit_interrupts_and_keeps_the_cost(run, confined):
    begun = time.monotonic()
    slow = Player([[bash(1, "sleep 57; echo slept")]])
    work, _ = run(arm("bare"), slow, confined=confined, minutes=2 / 60)
    assert (work.status, work.error) == (Status.LIMIT, "the time limit of the trial was reached")
    assert time.monotonic() - begun < 15
    assert (work.usage.turns, work.usage.input_tokens) == (1, 10)


def test_the_turn_limit_is_a_limit(run):
    turns = [[bash(number, f"echo {number}")] for number in range(4)]
    work, _ = run(arm("bare"), Player(turns), max_turns=2)
    assert (work.status, work.error) == (Status.LIMIT, "error_max_turns")


def test_the_money_cap_is_a_limit(run):
    turns = [[bash(number, f"echo {number}")] for number in range(4)]
    work, _ = run(arm("bare"), Player(turns), max_usd=0.000001)
    assert (work.status, work.error) == (Status.LIMIT, "error_max_budget_usd")


# ---------------------------------------------------------------------- a CLI that fails
READS = "read line; "
INIT = json.dumps({"type": "system", "subtype": "init", "session_id": "s", "agents": [], "skills": []})
FAKE = {
    "crashes at once": ("echo no thanks >&2; exit 3", "3"),
    "says nothing": ("exit 0", "said nothing within"),
    "speaks nonsense": ("echo '{\"type\": nonsense'; exit 0", ""),
    "dies in the middle": ("reply; read line; echo \"$INIT\"; kill -9 $$", ""),
    "ends without a result": ("reply; read line; echo \"$INIT\"; exit 0", "1 messages without a result"),
}  # fmt: skip
REPLY = """
INIT={init}
reply() {{
  read line
  id=$(printf %s "$line" | sed 's/.*"request_id": *"\\([^"]*\\)".*/\\1/')
  said='{{"type": "control_response", "response": {{"subtype": "success", "request_id": "%s", "response": {{}}}}}}\\n'
  printf "$said" "$id"
}}
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    def fake(script):
        path = tmp_path / "fake-claude"
        path.write_text("#!/bin/sh\n" + REPLY.format(init=shlex.quote(INIT)) + script + "\n")
        path.chmod(0o755)
        monkeypatch.setattr(claude, "CLI", path)

    return fake


@pytest.mark.parametrize("what", FAKE)
def test_a_cli_that_fails_is_no_score(run, fake, what):
    script, said = FAKE[what]
    fake(script)
    # The SDK waits a minute for a process that ended well without a word; the limit of the trial is sooner.
    work, _ = run(arm("bare"), Player(), minutes=3 / 60)
    assert work.status is Status.CLI_FAILED, work
    assert said in work.error
    assert work.usage.turns == 0


@pytest.mark.parametrize("confined", [True, False])
def test_a_cli_that_hangs_at_its_start_is_ended(run, fake, confined):
    fake("trap '' TERM; sleep 61")
    begun = time.monotonic()
    work, _ = run(arm("bare"), Player(), confined=confined, minutes=1 / 60)
    assert (work.status, work.error) == (
        Status.CLI_FAILED,
        "the CLI said nothing within the time limit of the trial",
    )
    assert time.monotonic() - begun < 20


def test_a_cli_that_can_not_be_run_is_no_score(run, monkeypatch):
    monkeypatch.setattr(claude, "CLI", Path(os.devnull))
    work, _ = run(arm("bare"), Player())
    assert work.status is Status.CLI_FAILED
