"""Every command of the README is run: here, or by the gate that the README names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.agents.claude import CLI

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line and not line.startswith("#")]
# Too long to run inside the gate a second time; each with the line that runs it there.
ELSEWHERE = {
    "scripts/check": (".ci/run", "scripts/check"),
    "scripts/eval prove": ("scripts/check", "step python evals/run.py prove"),
    "scripts/bench": ("tests/scripts/test_bench.py", "bench.main("),
}
TO_RUN = [command for command in COMMANDS if command not in ELSEWHERE]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A person's home with `claude` on the path and nothing else of theirs."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bin").mkdir()
    (folder / "bin" / "claude").symlink_to(CLI)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


def run(command: str, home: Path, project: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command.replace("/path/to/fastapi-pack", str(ROOT)))
    environment = {
        "PATH": f"{home}/bin:{os.environ['PATH']}",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ANTHROPIC_API_KEY": "",
        "LANG": "C.UTF-8",
    }
    if words[0] == "python":
        words[0] = sys.executable
    ours = words[0].startswith("scripts/")
    if words[:1] == ["scripts/eval"] and words[1:2] not in (["list"], ["grade"], ["prove"]):
        words += ["--out", str(home / f"out-{len(words)}")]
    return subprocess.run(
        words, cwd=ROOT if ours else project, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def test_the_readme_has_commands():
    assert len(TO_RUN) >= 6


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(command):
    assert command in COMMANDS, "the README does not name it any more: remove it here"
    file, line = ELSEWHERE[command]
    assert line in (ROOT / file).read_text(encoding="utf-8")


def test_every_command_works_in_the_order_of_the_readme(home, project):
    for command in TO_RUN:
        ran = run(command, home, project)
        assert ran.returncode == 0, f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        if command == "scripts/eval":
            # One line a task, all of them whole and marked as scripted.
            assert "scripted" in ran.stdout
            assert len(re.findall(r"│ 100% +│ 100% +│ 100\.0% +│ completed │", ran.stdout)) == 3, ran.stdout
    assert (project / ".claude" / "skills" / "fastapi-auth" / "SKILL.md").is_file()
    listed = run("claude plugin list", home, project)
    assert "fastapi-pack@fastapi-pack" in listed.stdout, listed.stdout + listed.stderr


def test_the_plugin_is_valid(home, project):
    ran = run("claude plugin validate --strict /path/to/fastapi-pack", home, project)
    assert ran.returncode == 0, ran.stdout + ran.stderr
