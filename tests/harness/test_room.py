import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import asdict

import pytest
import rig

from harness import relay, room
from harness.model import Limits
from harness.room import LEFT_OUT, Plan, Room, Verdict, copy


def plan(folder, **changes):
    raw = {
        "nonce": "n",
        "folder": str(folder),
        "submission": str(folder / "submission"),
        "checks": str(folder / "checks"),
        "expected": ["greets"],
        "environment": {"FOLDER": "{data}/files"},
        "limits": asdict(Limits()),
        "confined": False,
        "begun": 0.0,
        "database": None,
    }
    return Plan.read(json.dumps(raw | changes))


def test_only_regular_files_and_folders_are_an_answer(tmp_path):
    rig.write(tmp_path / "answer", {"app/main.py": "x", "app/deep/er/a.txt": "y", ".env.example": "z", "secret": "s"})
    answer = tmp_path / "answer"
    (answer / "link.txt").symlink_to("/etc/passwd")
    (answer / "folder").symlink_to("/etc")
    (answer / "app" / "inside").symlink_to(answer / "secret")
    os.mkfifo(answer / "app" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(answer / "socket"))
    for name in LEFT_OUT:
        rig.write(answer / "app" / name, {"x.py": "left out"})
    (answer / "app" / "run.sh").write_text("#!/bin/sh")
    (answer / "app" / "run.sh").chmod(0o755)
    copy(answer, tmp_path / "copy")
    found = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*")}
    files = {"app/main.py", "app/deep/er/a.txt", ".env.example", "secret", "app/run.sh"}
    assert found == files | {"app", "app/deep", "app/deep/er"}
    assert (tmp_path / "copy" / "app" / "run.sh").stat().st_mode & stat.S_IXUSR


@pytest.mark.parametrize("confined", [True, False])
def test_links_and_pipes_in_an_answer_are_passed_over(judge, tmp_path, confined):
    answer = rig.write(tmp_path / "linked", rig.app("import os", "body = '\\n'.join(os.listdir('.')).encode()"))
    (answer / "passwd").symlink_to("/etc/passwd")
    (answer / "loop").symlink_to(answer)
    os.mkfifo(answer / "pipe")
    checks = """
    def test_links_safe(client):
        assert client.get("/").text == "app"
    """
    assert rig.outcomes(judge(answer, checks, confined=confined)) == {"links_safe": "passed"}


def test_an_answer_larger_than_the_disk_is_told(judge, tmp_path):
    answer = rig.write(tmp_path / "large", rig.app())
    (answer / "large.bin").write_bytes(b"x" * (3 << 20))
    found = judge(answer, disk_mb=2)
    assert found.error is not None
    assert found.error.startswith("the submission could not be copied")
    assert "No space left" in found.error
    assert rig.outcomes(found) == {"greets": "missing"}


def test_an_app_folder_that_is_a_link_is_no_answer(judge, tmp_path):
    elsewhere = rig.write(tmp_path / "elsewhere", rig.app())
    answer = tmp_path / "linked"
    answer.mkdir()
    (answer / "app").symlink_to(elsewhere / "app")
    assert "it imports 'app'" in (judge(answer).error or "")


def test_each_service_has_files_of_its_own(tmp_path):
    rig.write(tmp_path, {"submission/app/main.py": "x"})
    made = Room(plan(tmp_path))
    first = made.launch("first", workers=1, environment={"A": "1"})
    second = made.launch("second", workers=2, environment={}, database="other")
    assert first.port != second.port
    assert (first.workers, second.workers) == (1, 2)
    assert first.environment == {
        "FOLDER": f"{tmp_path}/first/data/files",
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/first/data/app.db",
        "A": "1",
    }
    assert second.environment["DATABASE_URL"].endswith("/second/data/other.db")
    (first.workspace / "app" / "main.py").write_text("changed")
    assert (second.workspace / "app" / "main.py").read_text() == "x"


def test_a_port_that_is_taken_is_noticed():
    with relay.listen(0) as server:
        assert room._taken(server.getsockname()[1])
    with relay.listen(0) as server:
        port = server.getsockname()[1]
    assert not room._taken(port)


def told(reading):
    with os.fdopen(reading, "rb") as channel:
        return json.loads(channel.read())


def test_the_first_failure_of_a_check_stands(tmp_path):
    reading, writing = os.pipe()
    verdict = Verdict(plan(tmp_path), writing)
    verdict.add("greets", "passed", "", [])
    verdict.add("greets", "failed", "the first", [])
    verdict.add("greets", "failed", "the second", [])
    verdict.add("greets", "passed", "", [])
    verdict.send("the log", "an error")
    verdict.send("never heard")
    os.close(writing)
    said = told(reading)
    assert said["results"] == {"greets": {"outcome": "failed", "message": "the first", "exchanges": []}}
    assert (said["nonce"], said["log"], said["error"]) == ("n", "the log", "an error")


def test_a_room_without_a_plan_gives_no_verdict():
    reading, writing = os.pipe()
    command = [sys.executable, "-I", room.__file__, str(writing)]
    ran = subprocess.run(command, input=b"{}", capture_output=True, pass_fds=[writing], check=False)
    os.close(writing)
    with os.fdopen(reading, "rb") as channel:
        assert channel.read() == b""
    assert ran.returncode == 1
    assert b"KeyError: 'folder'" in ran.stderr
