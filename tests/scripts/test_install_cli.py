"""The installed pack in the real Claude Code: from a project's `.claude/`, from the user's, and as a plugin."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from played import Player, api

from harness.agents import arm
from harness.agents.claude import CLI, QUIET
from harness.agents.messages import text, tool

ROOT = Path(__file__).resolve().parents[2]
AGENT = "fastapi-backend-developer"
SKILLS = {path.parent.name for path in ROOT.glob("skills/*/SKILL.md")}
PRELOADED = "fastapi-project"


@pytest.fixture
def home(tmp_path):
    """A person's home, and a project in it, with nothing of anybody else's."""
    (tmp_path / "home/project").mkdir(parents=True)
    return tmp_path / "home"


def environment(home):
    own = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude"), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return {**dict.fromkeys(QUIET, "1"), **own}


def install(home, *arguments):
    command = [sys.executable, ROOT / "scripts/install.py", *arguments]
    return subprocess.run(
        command, cwd=home / "project", env=environment(home), capture_output=True, text=True, check=True
    ).stdout


def claude(home, *arguments, **variables):
    done = subprocess.run(
        [CLI, *arguments], cwd=home / "project", env=environment(home) | variables,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def session(home, agent, skill):
    """One session in which the agent is called and loads the skill: what the CLI listed, and the agent's requests."""
    call = tool("toolu_call", "Agent", description="Build", prompt="Build it", subagent_type=agent)
    player = Player([[text("I call."), call]], [[text("I load."), tool("toolu_skill", "Skill", skill=skill)]])
    with api(player) as credentials:
        said = claude(
            home, "-p", "Build", "--output-format", "stream-json", "--verbose", "--allowedTools", "Agent,Skill",
            ANTHROPIC_API_KEY=credentials.value, ANTHROPIC_BASE_URL=credentials.upstream,
        )  # fmt: skip
    messages = [json.loads(line) for line in said.splitlines()]
    (init,) = [one for one in messages if one.get("subtype") == "init"]
    return init, [request for request in player.requests if request.thread != "main"]


def body(path):
    """The first paragraph below the frontmatter."""
    return (ROOT / path).read_text().split("---\n", 2)[2].strip().split("\n\n")[0]


def assert_works(home, prefix=""):
    init, requests = session(home, f"{prefix}{AGENT}", f"{prefix}fastapi-auth")
    assert init["agents"] == [f"{prefix}{AGENT}"]
    assert {f"{prefix}{name}" for name in SKILLS} <= set(init["skills"])
    first, second = requests[:2]
    assert body(f"agents/{AGENT}.md") in first.system()
    # Preloaded by the name in the agent's frontmatter, before the agent has called anything.
    assert body(f"skills/{PRELOADED}/SKILL.md") in first.conversation()
    assert body("skills/fastapi-auth/SKILL.md") not in first.conversation()
    assert body("skills/fastapi-auth/SKILL.md") in second.conversation()


def test_a_project_loads_what_was_installed_under_plain_names(home):
    install(home)
    # A version beside a file is no second agent and no second skill.
    for name in (f"agents/{AGENT}.md", "skills/fastapi-auth/SKILL.md"):
        shutil.copy(home / "project/.claude" / name, home / "project/.claude" / f"{name}.new")
    assert_works(home)


def test_the_users_own_folder_works_in_every_project(home):
    install(home, "--user")
    assert not (home / "project/.claude").exists()
    assert_works(home)


def test_one_agent_brings_the_skill_that_it_preloads(home):
    install(home, "--only", AGENT)
    init, requests = session(home, AGENT, PRELOADED)
    assert init["agents"] == [AGENT]
    assert body(f"skills/{PRELOADED}/SKILL.md") in requests[0].conversation()


def test_nothing_is_loaded_after_the_removal(home):
    install(home)
    install(home, "uninstall")
    init, _ = session(home, "none", "none")
    assert init["agents"] == []
    assert not SKILLS & set(init["skills"])


def test_the_plugin_comes_through_a_local_marketplace(home, tmp_path):
    market = arm("pack").stage(tmp_path / "market")
    assert "Successfully added marketplace: fastapi-pack" in claude(home, "plugin", "marketplace", "add", str(market))
    claude(home, "plugin", "install", "fastapi-pack@fastapi-pack")
    listed = {one["id"]: one["enabled"] for one in json.loads(claude(home, "plugin", "list", "--json"))}
    assert listed["fastapi-pack@fastapi-pack"] is True
    details = claude(home, "plugin", "details", "fastapi-pack")
    for name in (AGENT, *SKILLS):
        assert name in details
    assert_works(home, "fastapi-pack:")
