import json
import os
import stat

import pytest

from harness.model import CheckResult, Exchange, Grade, Kind, Outcome, Status, Trial, Usage, Work
from harness.results import ResultsError, Store, read_trial, trial_document

ASKED = Exchange("POST", "http://127.0.0.1:8000/notes", '{"text": "x"}', 500, "Oops \N{SNOWMAN}")
GRADE = Grade(
    (
        CheckResult("keeps_a_note", Kind.FUNCTIONAL, Outcome.PASSED),
        CheckResult("refuses_a_wrong_key", Kind.SECURITY, Outcome.FAILED, "assert 200 == 401", (ASKED,)),
        CheckResult("misses_an_unknown_note", Kind.ROBUSTNESS, Outcome.MISSING, "did not run"),
    ),
    seconds=2.5,
    log="INFO: started \N{SNOWMAN}\n",
)
TRIAL = Trial(
    "tiny", "pack", 2, Status.COMPLETED, GRADE, Usage(3, 100, 20, 0.25), 12.5, None, ("fastapi-auth", "fastapi-project")
)
FAILED = Trial("tiny", "bare", 1, Status.API_FAILED, None, Usage(1), 3.0, "overloaded")
WORK = Work(Status.COMPLETED, transcript=({"role": "user", "content": "Build \N{SNOWMAN}"}, {"role": "result"}))


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    (folder / "app" / "__pycache__").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "app" / "main.py").write_text("app = 1\n")
    (folder / "app" / "__pycache__" / "main.pyc").write_text("litter")
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "deep" / "run")


def test_a_run_has_a_private_folder_of_its_own(store):
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert Store.create(store.folder) == store


def test_a_folder_with_something_in_it_is_refused(store, workspace):
    store.save(TRIAL, WORK, workspace)
    with pytest.raises(ResultsError, match=r"is not empty; give another folder with --out$"):
        Store.create(store.folder)


@pytest.mark.parametrize("place", ["app/main.py", "app/main.py/run"])
def test_a_place_that_can_be_no_folder_is_refused(workspace, place):
    with pytest.raises(ResultsError, match=rf"{place}: .+; give another folder with --out$"):
        Store.create(workspace / place)


def test_a_saved_trial_is_read_back(store, workspace):
    store.save(TRIAL, WORK, workspace)
    store.save(FAILED, WORK, workspace)
    failed, passed = store.trials()
    assert failed == FAILED
    assert (passed.grade.checks, passed.grade.seconds) == (GRADE.checks, GRADE.seconds)
    assert (passed.usage, passed.skills_loaded, passed.status) == (TRIAL.usage, TRIAL.skills_loaded, TRIAL.status)
    assert (passed.task, passed.arm, passed.number, passed.seconds) == ("tiny", "pack", 2, 12.5)


def test_a_trials_folder_holds_what_a_person_wants_to_see(store, workspace):
    store.save(TRIAL, WORK, workspace)
    folder = store.folder / "tiny__pack__2"
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["service.log", "transcript.jsonl", "trial.json", "workspace/app/main.py"]
    assert (folder / "service.log").read_text(encoding="utf-8") == GRADE.log
    assert [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()] == list(
        WORK.transcript
    )
    assert json.loads((folder / "trial.json").read_text())["checks"][1]["exchanges"] == [vars(ASKED)]


def test_a_trial_without_workspace_or_grade_is_saved_too(store, tmp_path):
    store.save(FAILED, Work(Status.API_FAILED), tmp_path / "gone")
    folder = store.folder / "tiny__bare__1"
    assert sorted(path.name for path in folder.iterdir()) == ["transcript.jsonl", "trial.json"]


def test_links_and_special_files_of_an_agent_stay_out(store, workspace):
    (workspace / "link").symlink_to("/etc/passwd")
    os.mkfifo(workspace / "pipe")
    store.save(TRIAL, WORK, workspace)
    assert [path.name for path in (store.folder / "tiny__pack__2" / "workspace").iterdir()] == ["app"]


def test_a_killed_run_leaves_no_half_written_trial(store, workspace):
    half = store.folder / ".tiny__pack__2.part"
    half.mkdir()
    (half / "trial.json").write_text('{"task": "ti')
    assert store.trials() == []
    store.save(TRIAL, WORK, workspace)
    assert not half.exists()
    assert len(store.trials()) == 1


@pytest.mark.parametrize("text", ['{"task": "ti', "[]", "{}"])
def test_a_trial_that_can_not_be_read_is_named(store, workspace, text):
    store.save(TRIAL, WORK, workspace)
    path = store.folder / "tiny__pack__2" / "trial.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=r"tiny__pack__2/trial\.json: can't be read .*; remove its folder"):
        store.trials()


def test_the_document_of_a_trial_says_what_counts():
    document = trial_document(TRIAL)
    assert {name: document[name] for name in ("pass", "secure_pass", "status", "error", "tokens")} == {
        "pass": True,
        "secure_pass": False,
        "status": "completed",
        "error": None,
        "tokens": 120,
    }
    assert document["check_score"] == pytest.approx(1 / 3)
    assert [check["outcome"] for check in document["checks"]] == ["passed", "failed", "missing"]
    assert all("exchanges" not in check for check in document["checks"])
    assert read_trial(json.loads(json.dumps(document))).grade.failing() == GRADE.failing()


def test_the_document_of_a_trial_without_grade_is_no_pass():
    document = trial_document(FAILED)
    assert (document["pass"], document["secure_pass"], document["checks"]) == (False, False, [])
    assert (document["status"], document["error"]) == ("api_failed", "overloaded")


def test_the_error_of_a_grade_is_told():
    grade = Grade(GRADE.checks, error="the service ended")
    assert trial_document(Trial("tiny", "pack", 1, Status.COMPLETED, grade))["error"] == "the service ended"
