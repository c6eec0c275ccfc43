import json
import secrets
from pathlib import Path

import pytest
import rig

from harness import grade, sandbox
from harness.grade import GraderError, believed, clean, filled, judged
from harness.model import Check, Kind, Outcome
from harness.postgres import PostgresError

# Looked at from inside the service; the checks ask for it by path.
SPY = """
import glob, json, os, socket, sys, threading
import psycopg

def looked(path):
    try:
        return open(path, "rb").read().decode(errors="replace") if os.path.isfile(path) else os.listdir(path)
    except OSError as error:
        return type(error).__name__

def reached(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False

def logged_in(name, role=None):
    url = os.environ["DATABASE_URL"].replace("+asyncpg", "")
    head, _, own = url.rpartition("/")
    try:
        with psycopg.connect(f"{head}/{name or own}", connect_timeout=3) as connection:
            if role:
                connection.execute(f"set role {role}")
            return True
    except psycopg.Error as error:
        return str(error)

def signalled():
    told = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                os.kill(int(name), 9)
                told.append(name)
            except OSError:
                pass
    return told

def spied():
    outside = os.environ["OUTSIDE"].split(":")
    return {
        "folders": {path: looked(path) for path in outside},
        "interpreter": os.path.realpath(sys.executable),
        "root": sorted(os.listdir("/")),
        "processes": [looked(path) for path in glob.glob("/proc/[0-9]*/cmdline")],
        "environments": [looked(path) for path in glob.glob("/proc/[0-9]*/environ")],
        "files": [os.readlink(path) for path in glob.glob("/proc/[0-9]*/fd/*") if os.path.lexists(path)],
        "network": {host: reached(host, port) for host, port in [("1.1.1.1", 53), ("8.8.8.8", 443), ("::1", 5432)]},
        "interfaces": [name for _, name in socket.if_nameindex()],
        "own": logged_in(None),
        "others": {name: logged_in(name) for name in (os.environ["ANOTHER"], "postgres", "graded", "template1")},
        "superuser": logged_in(None, "grader"),
        "written": [path for path in ("/x", "/etc/x", "/usr/x", "/dev/x", "/opt/python-env/x") if writes(path)],
        "environment": dict(os.environ),
    }

def writes(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False
"""
SEES_NOTHING = """
import pytest

@pytest.fixture(scope="session")
def spied(connect):
    return connect().get("/spy").json()

def test_sees_no_folder_safe(spied):
    # The interpreter may lie in one of them; then nothing is there but the way to it.
    for path, seen in spied["folders"].items():
        on_the_way = [name for name in seen if spied["interpreter"].startswith(f"{path}/{name}/")]
        assert seen in ("FileNotFoundError", on_the_way), f"{path}: {seen}"
    assert not {"checks", "room", "submission"} & set(spied["root"])

def test_sees_no_process_safe(spied):
    seen = str(spied["processes"]) + str(spied["environments"])
    assert "uvicorn" in seen
    for name in ("room.py", "relay", "postgres -D", "of the user"):
        assert name not in seen, seen
    assert len(spied["processes"]) == 2, "bubblewrap and uvicorn"
    assert [one for one in spied["files"] if one.startswith(("/checks", "/room", "/work"))] == []

def test_reaches_no_network_safe(spied):
    assert spied["network"] == {"1.1.1.1": False, "8.8.8.8": False, "::1": False}
    assert spied["interfaces"] == ["lo"]

def test_reaches_one_database_safe(spied):
    assert spied["own"] is True
    for name, said in spied["others"].items():
        assert "permission denied" in str(said), f"{name}: {said}"
    assert "permission denied" in str(spied["superuser"]), spied["superuser"]

def test_writes_nowhere_safe(spied):
    assert spied["written"] == []

def test_has_an_environment_of_its_own_safe(spied):
    given = {"DATABASE_URL", "OUTSIDE", "ANOTHER"}
    fixed = {"PATH", "HOME", "LANG", "TZ", "VIRTUAL_ENV", "PWD", "LC_CTYPE"}
    assert given <= set(spied["environment"]) <= given | fixed, spied["environment"]
    assert "PERSONAL" not in str(spied["environments"])
"""


def test_a_confined_service_sees_itself_only(judge, grader, monkeypatch, tmp_path, here):
    monkeypatch.setenv("PERSONAL", "of the user")
    another = grader.cluster.create()
    outside = [here.repository, here.home, tmp_path, grader.scratch, grader.cluster.folder, Path("/checks"), "/room"]
    environment = {"OUTSIDE": ":".join(map(str, outside)), "ANOTHER": another.name}
    answer = "if path == '/spy': body = json.dumps(spied()).encode()"
    spy = rig.app(SPY, answer)
    try:
        found = judge(spy, SEES_NOTHING, services=("postgres",), environment=environment)
    finally:
        grader.cluster.drop(another)
    assert {name: said for name, said in rig.outcomes(found).items() if said != "passed"} == {}, rig.messages(found)
    assert found.secure_passed is found.passed is False, "a task without functional checks is never passed"


def test_killing_what_it_sees_gains_nothing(judge):
    kills = rig.app(SPY, "if path == '/kill': signalled()")
    checks = """
    def test_a(client):
        client.get("/kill")

    def test_b(client):
        assert client.get("/").text == "hello"
    """
    found = judge(kills, checks, environment={"OUTSIDE": "", "ANOTHER": ""})
    assert set(rig.outcomes(found)) == {"a", "b"}
    assert found.log


PLANTED = {
    "conftest.py": "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_pyfunc_call(): return True\n",
    "pytest.ini": "[pytest]\naddopts = --collect-only\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--collect-only'\n",
    "sitecustomize.py": "import os\nos._exit(0)\n",
    "httpx.py": "class Client: pass\n",
    "pytest.py": "raise SystemExit(0)\n",
    "app/conftest.py": "raise SystemExit(0)\n",
    "verdict.json": '{"results": {"greets": {"outcome": "passed"}}}',
    "evil.egg-info/entry_points.txt": "[pytest11]\nevil = evil\n",
    "evil.egg-info/PKG-INFO": "Metadata-Version: 2.1\nName: evil\nVersion: 1\n",
    "evil.py": "def pytest_pyfunc_call(): return True\n",
}


@pytest.mark.parametrize("confined", [True, False])
def test_planted_files_change_nothing(judge, confined):
    wrong = judge({**rig.app(answer="body = b'wrong'"), **PLANTED}, confined=confined)
    assert (rig.outcomes(wrong), wrong.error) == ({"greets": "failed"}, None)
    assert "hello" in rig.messages(wrong)


def test_the_first_failure_shows_what_was_sent_and_answered(judge):
    checks = """
    def test_greets(client):
        client.get("/first")
        assert client.post("/second", json={"a": 1}).status_code == 200, "on purpose"
    """
    teapot = rig.app(answer="if path == '/second': status, body = 418, b'\\x1b[31mred\\xff'")
    (check,) = judge(teapot, checks).checks
    assert check.outcome is Outcome.FAILED
    assert "on purpose" in check.message
    first, second = check.exchanges
    assert (first.method, first.status, first.response) == ("GET", 200, "hello")
    assert (second.method, second.status, second.request) == ("POST", 418, '{"a":1}')
    assert second.response == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"
    assert second.url.endswith("/second")


NO_SCORE = {
    "a check file that can't be loaded": (
        "import nothing_of_the_kind\ndef test_greets(): pass",
        "the checks can't be loaded",
    ),
    "a check file with a wrong line": ("def test_greets(: pass", "the checks can't be loaded"),
    "a room that ends": ("import os\ndef test_greets(): os._exit(7)", "gave no verdict; it said"),
    "no check at all": ("def greets(): pass\n# def test_greets", "the checks could not be run"),
    "a check that ends the run": (
        "import pytest\ndef test_greets(): pytest.exit('enough')",
        "the checks could not be run",
    ),
}


@pytest.mark.parametrize("what", NO_SCORE)
@pytest.mark.parametrize("confined", [True, False])
def test_a_grading_that_fails_is_no_score(judge, what, confined):
    checks, said = NO_SCORE[what]
    with pytest.raises(GraderError, match=said):
        judge(rig.app(), checks, confined=confined)


NOT_PASSED = """
import pytest

@pytest.mark.skip(reason="no time")
def test_skipped(): pass

@pytest.mark.xfail
def test_expected_to_fail(): assert False

@pytest.mark.xfail
def test_passes_unexpectedly(): pass

@pytest.fixture
def broken(): raise RuntimeError("in set-up")

def test_errors_in_set_up(broken): pass

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("in tear-down")

def test_errors_in_tear_down(untidy): pass

@pytest.mark.parametrize("number", [1, 2, 3])
def test_fails_once(number): assert number != 2, f"not {number}"

@pytest.mark.parametrize("number", [1, 2])
def test_passes(number): pass

@pytest.mark.parametrize("number", [])
def test_with_no_case(number): pass
"""


def test_only_a_check_that_ran_whole_has_passed(judge):
    found = judge(rig.app(), NOT_PASSED)
    said = {check.name: check.message for check in found.checks}
    assert {name for name, outcome in rig.outcomes(found).items() if outcome == "passed"} == {"passes"}
    assert said["passes"] == ""
    assert said["skipped"] == said["expected_to_fail"] == said["with_no_case"]
    assert said["skipped"] == "the check was skipped, which is not a pass"
    assert "in set-up" in said["errors_in_set_up"]
    assert "in tear-down" in said["errors_in_tear_down"]
    assert "not 2" in said["fails_once"]


@pytest.mark.parametrize("confined", [True, False])
def test_checks_that_hang_are_cut_off(judge, confined):
    checks = """
    import time

    def test_a_first(client):
        assert client.get("/").text == "hello"

    def test_b_hangs():
        time.sleep(60)

    def test_c_last(): pass
    """
    found = judge(rig.app(), checks, confined=confined, checks_s=1)
    assert found.error == "the checks' time limit of 1 s is over"
    assert rig.outcomes(found) == {"a_first": "passed", "b_hangs": "missing", "c_last": "missing"}
    assert found.checks[1].message == "did not run: the checks' time limit of 1 s is over"


@pytest.mark.parametrize("confined", [True, False])
def test_a_room_that_does_not_end_is_ended(judge, monkeypatch, confined):
    monkeypatch.setattr(grade, "GRACE_S", -3)
    with pytest.raises(GraderError, match="did not come to an end within 2 s"):
        judge(rig.app("import time; time.sleep(30)"), confined=confined, start_s=4, checks_s=1)


def test_a_verdict_that_is_too_large_is_none(judge, monkeypatch):
    monkeypatch.setattr(grade, "LARGEST_VERDICT", 100)
    with pytest.raises(GraderError, match="said more than 100 bytes"):
        judge(rig.app())


def test_one_verdict_with_the_nonce_is_believed():
    verdict = {"nonce": "n", "results": {}}
    assert believed(json.dumps(verdict).encode(), "n", "") == verdict
    for told in (b"", b"{", json.dumps(verdict).encode() * 2, b"\xff"):
        with pytest.raises(GraderError, match="the room gave no verdict; it said: nothing"):
            believed(told, "n", "")
    for told in (b"[]", b"{}", b'{"nonce": "m"}', b"null"):
        with pytest.raises(GraderError, match="nonce"):
            believed(told, "n", "")


def test_a_check_that_nobody_reported_is_missing():
    verdict = {"results": {}, "log": "", "error": None, "start_seconds": 0}
    found = judged((Check("greets", Kind.DOCS, ""),), verdict)
    assert found.checks[0].outcome is Outcome.MISSING
    assert found.checks[0].message == "did not run: the checks ended before it"


def test_secrets_are_fresh_and_data_is_left_to_the_room():
    given = {"A": "{secret}", "B": "{secret}", "C": "{data}/x", "D": "plain"}
    first, second = filled(given), filled(given)
    assert len({first["A"], first["B"], second["A"], second["B"]}) == 4
    assert (first["C"], first["D"], len(first["A"])) == ("{data}/x", "plain", 64)


def test_text_of_graded_code_can_not_steer_a_terminal():
    assert clean("a\x1b]0;x\x07\n\tb\u202e") == "a\ufffd]0;x\ufffd\n\tb\ufffd"


@pytest.mark.parametrize("confined", [True, False])
def test_a_grader_leaves_no_folder_and_no_process(monkeypatch, tmp_path_factory, confined):
    rig.adopt_orphans()
    before = rig.running()
    # Short, because a Unix socket's path is.
    place = Path("/tmp") / f"t{secrets.token_hex(3)}"
    place.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with grade.grader(confined=confined) as made:
        assert made.cluster.folder.stat().st_mode & 0o77 == 0
        with made.cluster.connect() as connection:
            assert connection.execute("select 1").fetchall() == [(1,)]
    assert list(place.iterdir()) == []
    place.rmdir()
    assert rig.newcomers(before) == {}


def test_without_a_sandbox_there_is_no_confined_grader(monkeypatch):
    monkeypatch.setattr(sandbox, "obstacle", lambda: "user namespaces are forbidden")
    with pytest.raises(sandbox.SandboxError, match="forbidden"), grade.grader(confined=True):
        pass


def test_a_temporary_folder_with_a_long_name_is_refused(monkeypatch, tmp_path):
    place = tmp_path / ("long" * 20)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with pytest.raises(PostgresError, match="set TMPDIR to a shorter folder"), grade.grader(confined=True):
        pass
    assert list(place.iterdir()) == []
