"""Kills an installation at every moment at which it touches the disk, one after the other, and tells what each left.

    kill_points.py INSTALL.PY PROJECT WORK ARGUMENT...

PROJECT is the state before; a copy of it in WORK is what the arguments are run on. Prints a line of JSON a moment: the
files after the kill, after the recovery, and after the same command was run once more.
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

TOUCHES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "open"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def load(path):
    spec = importlib.util.spec_from_file_location("install", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["install"] = module
    spec.loader.exec_module(module)
    return module


def files(folder):
    """Content by path; folders that are empty too, but for .claude itself."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
        elif name != ".claude" and not any(path.iterdir()):
            found[f"{name}/"] = None
    return found


def in_child(work):
    """Run `work` in a process of its own. True if it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, status
    return os.WIFSIGNALED(status)


def die_at(moment, folder):
    left = iter(range(moment))

    def hook(event, arguments):
        if event not in TOUCHES or (event == "open" and not (arguments[2] or 0) & WRITING):
            return
        place = str(arguments[0])  # relative where a tree is removed
        if (place.startswith(folder) or not place.startswith("/")) and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def main(script, before, work, *arguments):
    os.fsync = lambda handle: None  # slow, and of use only when the power fails
    install = load(script)
    project = Path(work, "project")
    command = [*arguments, "--project", str(project)]
    target = (project, install.read_pack(install.ROOT).name)
    for moment in count():
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(before, project)
        killed = in_child(lambda moment=moment: (die_at(moment, str(project)), install.main(command)))
        told = {"killed": killed, "left": files(project)}
        in_child(lambda: list(install.recover(install.project_target(*target))))
        told["recovered"] = files(project)
        in_child(lambda: install.main(command))
        told["again"] = files(project)
        print(json.dumps(told))  # noqa: T201
        if not killed:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
