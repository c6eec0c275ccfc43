import os
import subprocess
import sys
import time

import pytest
import rig

from harness import service
from harness.model import Limits
from harness.service import LOG_HEAD, LOG_TAIL, Launch, Log, Process

# What a service does that should not; what its grade says then.
NEVER_STARTS = {
    "a package that is not there": (
        "import a_package_of_nobody",
        {},
        "the service ended: it imports 'a_package_of_nobody', which is not among the packages at hand",
    ),
    "an error at import": ("raise RuntimeError('boom')", {}, "the service ended with exit code 1"),
    "an end at once": ("import os; os._exit(0)", {}, "the service ended with exit code 0"),
    "an end by a signal": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", {}, "exit code 137"),
    "a hang at import": ("import time; time.sleep(60)", {"start_s": 1.5}, "did not listen on its port within 1.5 s"),
    "processes without end": (
        "import os\nwhile True: os.fork()",
        {"processes": 12},
        "the service was stopped: it started more than 12 processes",
    ),
    "memory without end": (
        "import time\nheld = []\nwhile True: held.append(b'x' * (1 << 20)); time.sleep(0.002)",
        {"memory_mb": 128},
        "the service was stopped: it used more than 128 MB of memory",
    ),
}
HANGS_IN_LIFESPAN = """
import asyncio
async def app(scope, receive, send):
    await asyncio.sleep(60)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
"""
STUBBORN = """
import signal
for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(one, signal.SIG_IGN)
"""
GIGABYTE = "import os\nfor _ in range(1024): os.write(1, b'x' * (1 << 20))"


@pytest.mark.parametrize("what", NEVER_STARTS)
def test_a_service_that_does_not_start_says_why(judge, what):
    extra, limits, error = NEVER_STARTS[what]
    grade = judge(rig.app(extra), **limits)
    assert grade.error is not None
    assert error in grade.error
    assert (grade.score, rig.outcomes(grade)) == (0, {"greets": "missing"})
    assert rig.messages(grade) == f"did not run: {grade.error}"
    assert ("boom" in grade.log) == ("boom" in extra)


def test_a_start_that_never_ends_is_cut_off(judge):
    grade = judge({"app/__init__.py": "", "app/main.py": HANGS_IN_LIFESPAN}, start_s=1.5)
    assert grade.error == "the service did not listen on its port within 1.5 s"


def test_an_empty_answer_does_not_start(judge, tmp_path):
    grade = judge({"README.md": "nothing"})
    assert grade.error == "the service ended: it imports 'app', which is not among the packages at hand"


def test_a_late_start_is_in_time(judge):
    grade = judge(rig.app("import time; time.sleep(1)"), start_s=5)
    assert rig.outcomes(grade) == {"greets": "passed"}
    assert 1 < grade.start_seconds < grade.seconds


def test_an_end_during_the_checks_is_told_with_the_check_that_saw_it(judge):
    ends = rig.app("import os", "if path == '/end': os._exit(3)")
    checks = """
    def test_a_greets(client):
        assert client.get("/").text == "hello"

    def test_b_stays(client):
        client.get("/end")

    def test_c_greets_again(client):
        assert client.get("/").text == "hello"
    """
    grade = judge(ends, checks)
    assert rig.outcomes(grade) == {"a_greets": "passed", "b_stays": "failed", "c_greets_again": "failed"}
    assert grade.error == "the service ended with exit code 3"
    assert [check.message.endswith("(the service ended with exit code 3)") for check in grade.checks] == [0, 1, 1]


@pytest.mark.parametrize("confined", [True, False])
def test_nothing_outlives_its_grading(judge, confined):
    grade = judge(rig.app(f"{STUBBORN}\n{DAEMON}"), confined=confined)
    assert rig.outcomes(grade) == {"greets": "passed"}


def test_a_gigabyte_of_output_is_cut(judge):
    grade = judge(rig.app(GIGABYTE))
    assert rig.outcomes(grade) == {"greets": "passed"}
    assert len(grade.log) < LOG_HEAD + LOG_TAIL + 100
    assert "bytes of output left out]" in grade.log
    assert "Uvicorn running" in grade.log


def test_a_log_keeps_both_ends():
    log = Log()
    log.add(b"begin")
    assert log.text() == "begin"
    log.add(b"a" * LOG_HEAD + b"b" * LOG_TAIL)
    assert log.text().startswith("begin" + "a" * 100)
    log.add(b"end\xff")
    assert log.text().endswith("bend\ufffd")
    assert log.text().count("b") == LOG_TAIL - 4 + len("begin[bytes of output]") - len("egin[ytes of output]")
    assert "\n[9 bytes of output left out]\n" in log.text()


def launch(folder, port=1, **changes):
    return Launch(folder, folder, port, {"WHO": "me"}, Limits(start_s=5), None, **changes)


def test_workers_are_asked_for_where_there_are_several(tmp_path):
    assert launch(tmp_path).command()[-4:] == ["--host", "127.0.0.1", "--port", "1"]
    assert launch(tmp_path, workers=2).command()[-2:] == ["--workers", "2"]


@pytest.mark.usefixtures("nothing_left")
def test_an_unconfined_service_has_an_environment_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSONAL", "secret")
    rig.write(tmp_path, rig.app("import os, json; print(json.dumps(dict(os.environ)), flush=True); os._exit(0)"))
    process = Process(launch(tmp_path))
    assert process.wait_ready() == "the service ended with exit code 0"
    process.stop()
    assert '"WHO": "me"' in process.log.text()
    assert "secret" not in process.log.text()


def test_descendants_are_found_nearest_first():
    sleeps = "import time; print(1, flush=True); time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleeps!r}])"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        found = service.descendants(os.getpid())
        below = service.descendants(child.pid)
        processes, memory = service.footprint(child.pid)
        for pid in (*below, child.pid):
            os.kill(pid, 9)
    assert found.index(child.pid) < found.index(below[0])
    assert (len(below), processes) == (1, 1)
    assert memory > 1 << 20
    deadline = time.monotonic() + 5
    while service.descendants(child.pid):
        assert time.monotonic() < deadline
    assert service.footprint(child.pid) == (0, 0)
