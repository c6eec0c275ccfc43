"""What is installed: versions, and the skill inside FastAPI's wheel."""

import importlib.metadata
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "fastapi", "starlette", "pydantic", "pydantic-settings", "sqlalchemy", "httpx", "httpx2", "greenlet",
    "prometheus-fastapi-instrumentator",
)  # fmt: skip
SKILL = "fastapi/.agents/skills/fastapi/SKILL.md"
# Runs in the interpreter that is asked about; it needs nothing but the standard library.
PROGRAM = f"""
import importlib.metadata as metadata, json
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
try:
    skill = str(metadata.distribution("fastapi").locate_file({SKILL!r}))
except metadata.PackageNotFoundError:
    skill = ""
print(json.dumps([{{name: version(name) for name in {PACKAGES!r}}}, skill]))
"""


class UpgradeError(Exception):
    """Wrong use: one line that names the place and the mend."""


@dataclass(frozen=True)
class Installed:
    """Versions by package; those that are not installed are missing."""

    versions: Mapping[str, str]
    skill: Path | None

    def number(self, package: str) -> tuple[int, ...] | None:
        version = self.versions.get(package)
        return None if version is None else number(version)


def number(version: str) -> tuple[int, ...]:
    """`2.1.0rc1` -> (2, 1, 0): enough to compare releases."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-z+-]", version.lower())[0]))


def of_interpreter(python: str) -> Installed:
    """What the interpreter `python` imports. Raises UpgradeError where it doesn't run."""
    try:
        done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
        versions, skill = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UpgradeError(f"--python {python}: can't ask it for its packages: {error}") from None
    return _installed(versions, skill)


def here() -> Installed:
    """What the running interpreter imports."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    skill = importlib.metadata.distribution("fastapi").locate_file(SKILL) if "fastapi" in versions else ""
    return _installed(versions, str(skill))


def _installed(versions: Mapping[str, str | None], skill: str) -> Installed:
    found = Path(skill) if skill and Path(skill).is_file() else None
    return Installed({name: version for name, version in versions.items() if version}, found)
