import json
import os
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console
from tiny import CHECKS, MUTANTS, TASK, write_tiny_task
from typer.testing import CliRunner

from harness import cli, sandbox, tasks
from harness.agents import Live
from harness.model import CheckResult, Grade, Kind, Outcome, Status, Trial
from harness.postgres import PostgresError
from harness.session import Plan

CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A folder of tasks with the tiny one, in the place of the repository's; and no credentials at all."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tasks, "TASKS", tmp_path / "tasks")
    write_tiny_task(tmp_path / "tasks")
    return tmp_path / "tasks"


def call(*arguments, status):
    """What a command says: standard output and standard error."""
    done = CliRunner().invoke(cli.app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == status, (done.exit_code, done.stdout, done.stderr)
    return done.stdout, done.stderr


def cannot_be_confined(monkeypatch):
    monkeypatch.setattr(sandbox, "obstacle", lambda: "bubblewrap can't make a sandbox here")


# ---------------------------------------------------------------------- list


def test_list_shows_the_tasks():
    said, _ = call("list", status=0)
    assert "tiny" in said
    assert "Arms: pack (this repository's plugin), bare (nothing loaded)." in said


def test_list_is_a_document():
    said, _ = call("list", "--json", status=0)
    document = json.loads(said)
    assert ([one["task"] for one in document["tasks"]], document["arms"]) == (["tiny"], ["pack", "bare"])


def test_without_a_task_there_is_nothing_to_do(root):
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for command in (["list"], ["prove"], ["run"]):
        assert "holds no task; a task is a folder with task.yaml" in call(*command, status=2)[1]


# ---------------------------------------------------------------------- wrong use and broken folders


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["grade", "nosuch", "."], "nosuch: there is no such task; there are: tiny"),
        (["grade", "tiny", "gone"], "gone: is no folder; give the workspace to judge"),
        (["grade", "tiny"], "Missing argument 'directory'"),
        (["grade", "tiny", __file__], "is a file"),
        (["prove", "nosuch"], "nosuch: there is no such task; there are: tiny"),
        (["prove", "--mutant", "gone"], "there is no mutant gone in tiny"),
        (["prove", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["run", "--task", "nosuch"], "nosuch: there is no such task; there are: tiny"),
        (["run", "--arm", "nosuch"], "--arm nosuch: is neither bare nor pack"),
        (["run", "--arm", "x=/nowhere"], "/nowhere is no plugin"),
        (["run", "--arm", "bare", "--model", "opus"], "--model opus: needs credentials; set ANTHROPIC_API_KEY"),
        (["run", "--trials", "0"], "Invalid value for '--trials'"),
        (["run", "--effort", "heroic"], "Invalid value for '--effort'"),
        (["run", "--max-usd", "-1"], "Invalid value for '--max-usd'"),
        (["run", "--out", __file__], "is a file"),
        (["nosuch"], "No such command 'nosuch'"),
        (["list", "--nosuch"], "No such option: --nosuch"),
    ],
)
def test_wrong_use_is_status_2_and_says_what(arguments, problem, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    said, told = call(*arguments, status=2)
    assert said == ""
    assert problem in told


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("task.yaml", None, "tiny/task.yaml: is missing; add the file"),
        ("task.yaml", "title: [", "tiny/task.yaml, line 1: can't be read ("),
        ("task.yaml", TASK.replace("title", "titel"), "titel: Extra inputs are not permitted; remove it, or mend its"),
        (
            "mutants.yaml",
            MUTANTS.replace("[keeps_a_note]", "[keeps]"),
            "tiny/mutants.yaml: forgets-the-note: caught_by",
        ),
        ("checks/test_notes.py", CHECKS + "\ndef broken(", "tiny/checks/test_notes.py, line 29: does not parse ("),
    ],
)
@pytest.mark.parametrize("command", [["list"], ["grade", "tiny", "."], ["prove"], ["run", "--arm", "bare"]])
def test_a_broken_task_folder_is_status_2_with_file_place_and_mend(root, command, name, text, problem):
    write_tiny_task(root, **{name: text})
    if text is None:
        (root / "tiny" / name).unlink()
    said, told = call(*command, status=2)
    assert said == ""
    assert problem in told


def test_every_problem_of_a_folder_is_one_line(root):
    write_tiny_task(root, **{"mutants.yaml": MUTANTS.replace("find: ", "find: not-")})
    _, told = call("list", status=2)
    assert len(told.splitlines()) == 3
    assert all(line.startswith("tiny/mutants.yaml: ") for line in told.splitlines())


def test_two_arms_of_one_name_are_refused(root, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / ".claude-plugin").mkdir(parents=True)
        (tmp_path / name / ".claude-plugin" / "plugin.json").write_text('{"name": "x"}')
        (tmp_path / name / "agents").mkdir()
        (tmp_path / name / "agents" / "a.md").write_text("A line\n")
    _, told = call("run", "--arm", f"x={tmp_path / 'one'}", "--arm", f"x={tmp_path / 'two'}", status=2)
    assert told == "--arm x: 2 arms have this name; give each its own\n"


def test_results_are_never_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trial.json").write_text("{}")
    _, told = call("run", "--arm", "bare", "--out", tmp_path / "out", status=2)
    assert f"{tmp_path / 'out'}: is not empty; give another folder with --out" in told


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_key_that_can_not_be_sent_is_refused_and_not_shown(monkeypatch, name):
    monkeypatch.setenv(name, "sk-secret\N{RIGHT SINGLE QUOTATION MARK}")
    _, told = call("run", "--arm", "bare", status=2)
    assert told == f"{name}: holds characters that no key has; set it anew\n"


# ---------------------------------------------------------------------- what fails around the work


@pytest.mark.parametrize("command", [["grade", "tiny", "."], ["prove"]])
def test_a_machine_that_can_not_confine_is_status_3_and_says_the_way_out(monkeypatch, command):
    cannot_be_confined(monkeypatch)
    said, told = call(*command, status=3)
    assert said == ""
    assert "can't make a sandbox here" in told
    assert "--unconfined does without; use it for code that you trust." in told


def test_a_live_run_is_never_unconfined_in_silence(monkeypatch, tmp_path):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    cannot_be_confined(monkeypatch)
    _, told = call("run", "--arm", "bare", "--out", tmp_path / "out", status=3)
    assert "Live with sonnet, effort medium. 1 trials: 1 tasks, arms bare, 1 each. At most $20." in told
    assert "--unconfined does without" in told
    assert "sk-made-up" not in told
    assert not (tmp_path / "out").exists()


def test_a_scripted_run_says_that_it_is_unconfined(monkeypatch, capsys):
    cannot_be_confined(monkeypatch)
    plan = Plan((), (), 1, 1, 1.0)
    assert cli._run_confined(plan, unconfined=False) is False
    assert cli._run_confined(plan, unconfined=True) is False
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("Unconfined, because bubblewrap can't")
    assert second.startswith("Unconfined: neither the agent nor the graded code")


def test_errors_of_infrastructure_are_status_3(capsys):
    with pytest.raises(cli.typer.Exit) as ended, cli.refusals():
        raise PostgresError("PostgreSQL did not start")
    assert ended.value.exit_code == 3
    assert capsys.readouterr().err == "PostgreSQL did not start\n"


def test_a_crash_is_status_3_with_its_traceback(monkeypatch, capsys):
    monkeypatch.setattr(tasks, "TASKS", 42)
    monkeypatch.setattr(sys, "argv", ["run.py", "list"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


# ---------------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["run"]),
        (["list"], ["list"]),
        (["grade", "tiny", "."], ["grade", "tiny", "."]),
        (["prove", "--json"], ["prove", "--json"]),
        (["run", "--json"], ["run", "--json"]),
        (["--help"], ["--help"]),
        (["-h"], ["-h"]),
        (["--arm", "bare"], ["run", "--arm", "bare"]),
        (["--json"], ["run", "--json"]),
    ],
)
def test_without_a_command_run_is_meant(arguments, expected):
    assert cli._with_command(arguments) == expected


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_the_manual(option):
    said, _ = call(option, status=0)
    assert all(command in said for command in ("run", "grade", "prove", "list"))
    for command in ("run", "grade", "prove", "list"):
        assert "--json" in call(command, option, status=0)[0]


def test_a_model_is_live_only_where_credentials_are(monkeypatch):
    assert cli._live("auto", "medium") is None
    assert cli._live("scripted", "medium") is None
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    assert cli._live("scripted", "medium") is None
    live = cli._live("auto", "high")
    assert isinstance(live, Live)
    assert (live.model, live.effort) == ("sonnet", "high")
    assert cli._live("opus", "low").model == "opus"


def a_trial(outcome=Outcome.PASSED, status=Status.COMPLETED):
    grade = Grade((CheckResult("works", Kind.FUNCTIONAL, outcome),)) if status.counts else None
    return Trial("tiny", "bare", 1, status, grade, error=None if grade else "overloaded")


@pytest.mark.parametrize(
    ("trials", "stopped", "status"),
    [
        ([a_trial()], None, 0),
        ([a_trial(), a_trial(Outcome.FAILED)], None, 1),
        ([a_trial(Outcome.MISSING)], None, 1),
        ([a_trial(Outcome.FAILED, Status.LIMIT)], None, 1),
        ([a_trial(Outcome.FAILED), a_trial(status=Status.API_FAILED)], None, 3),
        ([a_trial()], "the cap of $1 is reached", 3),
        ([], None, 3),
    ],
)
def test_the_status_of_a_run_says_what_became_of_it(trials, stopped, status):
    assert cli._run_status(trials, stopped) == status


def test_a_trial_is_one_line():
    assert cli._line(a_trial()) == "tiny, bare, trial 1: completed, 100.0% of checks"
    assert cli._line(a_trial(status=Status.API_FAILED)) == "tiny, bare, trial 1: api_failed, overloaded"


def test_progress_is_a_line_a_step_where_no_terminal_is(capsys):
    with cli.progress(2, "trials") as done:
        done("[one] :key: " + "x" * 200)
        done("two")
    assert capsys.readouterr().err == f"[1/2] [one] :key: {'x' * 200}\n[2/2] two\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    terminal = Console(file=StringIO(), force_terminal=True, width=100, _environ={"TERM": "xterm"})
    monkeypatch.setattr(cli, "told", terminal)
    with cli.progress(2, "trials") as done:
        done("one")
        done("two")
    said = terminal.file.getvalue()
    assert "2/2" in said
    assert "[1/2]" not in said


# ---------------------------------------------------------------------- from end to end


def test_a_right_answer_is_graded_0_and_a_wrong_one_1(root, tmp_path):
    said, told = call("grade", "tiny", root / "tiny" / "solution", "--json", status=0)
    document = json.loads(said)
    assert (document["pass"], document["secure_pass"], document["check_score"], told) == (True, True, 1.0, "")
    app = tmp_path / "answer" / "app"
    app.mkdir(parents=True)
    (app / "main.py").write_text("raise SystemExit('no app today')\n")
    said, _ = call("grade", "tiny", tmp_path / "answer", status=1)
    assert "pass no, secure pass no, check score 0.0%" in said
    assert "no app today" in said


def test_a_proof_that_holds_is_0_and_one_that_does_not_is_1(root):
    said, told = call("prove", "tiny", "tiny", "--mutant", "ignores-the-key", "--json", status=0)
    document = json.loads(said)
    assert (document["ok"], len(document["tasks"])) == (True, 1)
    assert [line.split("]")[0] for line in told.splitlines()] == ["[1/3", "[2/3", "[3/3"]
    ended = "raise SystemExit('no app today')"
    write_tiny_task(root, **{"solution/app/main.py": ended, "mutants.yaml": "[]"})
    said, _ = call("prove", status=1)
    assert "tiny: idle fails, solution FAILS, 0 of 0 mutants caught by exactly what they name: NOT PROVEN" in said
    assert "tiny: the solution does not pass keeps_a_note: did not run" in said


def test_a_scripted_run_plays_the_solution_and_files_its_results(tmp_path):
    out = tmp_path / "out"
    said, told = call("run", "--task", "tiny", "--task", "tiny", "--arm", "bare", "--out", out, "--json", status=0)
    document = json.loads(said)
    assert told.startswith("Scripted: no model is asked, a known conversation is played. 1 trials: 1 tasks, arms bare")
    assert (document["mode"], document["summary"][0]["secure_pass@1"], len(document["trials"])) == ("scripted", 1.0, 1)
    assert json.loads((out / "run.json").read_text()) == document
    assert (out / "tiny__bare__1" / "workspace" / "app" / "main.py").is_file()


def test_the_program_is_a_few_lines_that_call_this_module():
    program = sandbox.ROOT / "evals" / "run.py"
    assert len(program.read_text().splitlines()) < 15
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, program, "grade", "tiny"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing argument 'directory'" in done.stderr
