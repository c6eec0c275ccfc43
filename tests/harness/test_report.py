from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from tiny import TASK, write_tiny_task

from harness import report, tasks
from harness.model import CheckResult, Exchange, Grade, Outcome, Status, Trial, Usage
from harness.proof import MutantProof, Proof

HOSTILE = "[red]not markup[/] and :key: [/]"


@pytest.fixture
def task(tmp_path):
    write_tiny_task(tmp_path)
    return tasks.load("tiny", tmp_path)


@pytest.fixture
def out():
    return Console(file=StringIO(), width=200, emoji=False)


def told(out):
    return out.file.getvalue()


def grade(task, *failing, outcome=Outcome.FAILED, message="assert 200 == 401", log="INFO: started\n"):
    asked = Exchange("GET", "http://127.0.0.1:8000/notes/1", HOSTILE, 200, HOSTILE)
    checks = tuple(
        CheckResult(check.name, check.kind, outcome, message, (asked,))
        if check.name in failing
        else CheckResult(check.name, check.kind, Outcome.PASSED)
        for check in task.checks
    )
    return Grade(checks, seconds=1.25, log=log)


def trial(task, made, arm="pack", number=1, status=Status.COMPLETED, **more):
    return Trial(task.name, arm, number, status, made, Usage(4, 100, 20, 0.5), 12.0, **more)


def proof(task, *, idle=None, solution=None, slips=(), partial=False):
    mutants = tuple(
        MutantProof(
            one.name,
            one.caught_by,
            frozenset() if one.name in slips else one.caught_by,
            dict.fromkeys((check.name for check in task.checks), ""),
        )
        for one in task.mutants
    )
    every = [check.name for check in task.checks]
    return Proof(task, idle or grade(task, *every), solution or grade(task), mutants, partial)


def test_a_grade_is_a_document_without_arm(task):
    document = report.graded(task, grade(task, "refuses_a_wrong_key"))
    assert "arm" not in document
    assert (document["task"], document["pass"], document["secure_pass"]) == ("tiny", True, False)
    assert document["log"] == "INFO: started\n"
    assert len(document["checks"]) == 3


def test_a_grade_is_shown_with_the_evidence(task, out):
    report.show_grade(out, task, grade(task, "refuses_a_wrong_key", message=HOSTILE))
    assert "pass yes, secure pass no, check score 66.7%, 1.2 s" in told(out)
    assert told(out).count(HOSTILE) == 3
    assert "refuses_a_wrong_key: GET http://127.0.0.1:8000/notes/1" in told(out)
    assert "-> 200 " in told(out)
    assert "The end of the service's output:\nINFO: started" in told(out)


def test_a_grade_without_fault_shows_no_log(task, out):
    report.show_grade(out, task, grade(task))
    assert "INFO: started" not in told(out)
    assert "pass yes, secure pass yes, check score 100.0%" in told(out)


def test_long_lines_are_not_broken_where_nobody_reads_at_a_terminal(task):
    out = Console(file=StringIO(), width=80)
    report.show_proofs(out, [proof(task)])
    report.show_grade(out, task, grade(task, "keeps_a_note", log="x" * 300))
    assert "tiny: idle fails, solution passes, 3 of 3 mutants caught by exactly what they name: proven\n" in told(out)
    assert "x" * 300 in told(out)


def test_a_proof_is_a_document(task):
    document = report.proven([proof(task)])
    [one] = document["tasks"]
    assert document["ok"] is one["ok"] is True
    assert (one["task"], one["solution"], one["idle"]) == (
        "tiny",
        {"ok": True, "failed": []},
        {"ok": True, "check_score": 0.0},
    )
    assert one["mutants"][2] == {
        "name": "ignores-the-key",
        "caught_by": ["refuses_a_wrong_key"],
        "expected": ["refuses_a_wrong_key"],
        "ok": True,
    }
    assert one["catches"]["keeps_a_note"] == ["forgets-the-note"]
    assert (one["checks_without_mutant"], one["complaints"]) == ([], [])


def test_a_proof_that_falls_short_says_where(task, out):
    short = proof(task, idle=grade(task), solution=grade(task, "keeps_a_note"), slips=("ignores-the-key",))
    document = report.proven([proof(task), short])
    assert (document["ok"], [one["ok"] for one in document["tasks"]]) == (False, [True, False])
    assert document["tasks"][1]["solution"] == {"ok": False, "failed": ["keeps_a_note"]}
    assert document["tasks"][1]["idle"]["ok"] is False
    assert len(document["tasks"][1]["complaints"]) == 3
    report.show_proofs(out, [short])
    assert "tiny: idle PASSES, solution FAILS, 2 of 3 mutants caught by exactly what they name: NOT PROVEN" in told(out)
    assert all(complaint in told(out) for complaint in document["tasks"][1]["complaints"])


def test_a_check_that_caught_nothing_shows_so(task, out):
    report.show_proofs(out, [proof(task, slips=("ignores-the-key",))])
    [line] = [line for line in told(out).splitlines() if "security" in line]
    assert [part.strip() for part in line.split("│")][1:-1] == ["refuses_a_wrong_key", "security", "-"]


def test_tasks_are_listed(task, out):
    [one] = report.listed([task])["tasks"]
    assert (one["task"], one["difficulty"], one["exercises"], one["mutants"]) == (
        "tiny",
        "easy",
        ["fastapi-database"],
        3,
    )
    assert one["checks"][2] == {
        "name": "refuses_a_wrong_key",
        "kind": "security",
        "cwe": 306,
        "proves": "Nobody reads or writes without the key",
    }
    report.show_list(out, [task])
    [line] = [line for line in told(out).splitlines() if "tiny" in line]
    assert [part.strip() for part in line.split("│")][1:-1] == [
        "tiny", "Keep notes behind a key", "easy", "1", "1", "1", "0", "0", "3",
    ]  # fmt: skip


def test_a_title_is_text_and_not_markup(tmp_path, out):
    write_tiny_task(tmp_path, **{"task.yaml": TASK.replace("Keep notes behind a key", '"Notes [red] [/]"')})
    report.show_list(out, [tasks.load("tiny", tmp_path)])
    assert "Notes [red] [/]" in told(out)


def test_a_run_is_a_document(task):
    trials = [
        trial(task, grade(task)),
        trial(task, grade(task, "refuses_a_wrong_key"), number=2),
        trial(task, None, "bare", status=Status.API_FAILED, error="overloaded"),
    ]
    document = report.ran("scripted", trials, "the cap is reached")
    assert (document["mode"], document["arms"], document["tasks"]) == ("scripted", ["pack", "bare"], ["tiny"])
    assert (len(document["trials"]), document["stopped"]) == (3, "the cap is reached")
    packed, bare = document["summary"]
    assert (packed["arm"], packed["trials"], packed["left_out"], packed["k"]) == ("pack", 2, 0, 2)
    assert (packed["pass@1"], packed["secure_pass@1"], packed["secure_pass^k"]) == (1, 0.5, 0)
    assert (packed["median_tokens"], packed["median_cost_usd"], packed["median_turns"]) == (120, 0.5, 4)
    assert (bare["trials"], bare["left_out"], bare["tasks"], bare["secure_pass^k"]) == (1, 1, 0, None)
    assert (bare["pass@1"], bare["check_score"], bare["median_seconds"]) == (None, None, None)
    assert set(bare) == set(packed)


def test_a_scripted_run_says_that_it_is_no_score(task, out):
    report.show_run(out, "scripted", [trial(task, grade(task))], None)
    assert "scripted: the model's part was played, this is no model's score" in told(out)
    assert "Stopped early" not in told(out)
    live = Console(file=StringIO(), width=200)
    report.show_run(live, "live", [trial(task, grade(task))], None)
    assert "no model's score" not in told(live)


def test_a_run_shows_failures_before_its_tables(task, out):
    trials = [
        trial(task, grade(task, "refuses_a_wrong_key", message=HOSTILE, log=HOSTILE)),
        trial(task, grade(task), number=2),
        trial(task, grade(task, "keeps_a_note", outcome=Outcome.MISSING, message="did not run", log=""), number=3),
        trial(task, None, "bare", status=Status.API_FAILED, error="529 [overloaded]"),
    ]
    report.show_run(out, "live", trials, "the cap of $1 is reached; 2 trials were not started")
    assert f"tiny, pack, trial 1: refuses_a_wrong_key failed: {HOSTILE}" in told(out)
    assert f"tiny, pack, trial 1: the end of the service's output:\n{HOSTILE}" in told(out)
    assert "tiny, pack, trial 3: keeps_a_note missing: did not run" in told(out)
    assert "tiny, bare, trial 1: api_failed, left out: 529 [overloaded]" in told(out)
    assert "Stopped early: the cap of $1 is reached; 2 trials were not started" in told(out)
    assert told(out).index("Stopped early") < told(out).index("Arms")
    rows = [[part.strip() for part in line.split("│")][1:-1] for line in told(out).splitlines() if line.startswith("│")]
    assert rows == [
        ["pack", "3", "67%", "33% (^3 0%)", "77.8%", "12.0 s", "4", "120", "$0.50"],
        ["bare", "0 of 1", "-", "-", "-", "-", "-", "-", "-"],
        ["tiny", "pack", "67%", "33%", "77.8%", "completed"],
        ["tiny", "bare", "-", "-", "-", "api_failed"],
    ]


def test_a_task_that_an_arm_did_not_do_has_no_row(task, out):
    other = replace(task, name="other")
    report.show_run(out, "live", [trial(task, grade(task)), trial(other, grade(other), "bare")], None)
    rows = [line for line in told(out).splitlines() if line.startswith("│") and "completed" in line]
    assert len(rows) == 2
