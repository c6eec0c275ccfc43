import json

import pytest

from harness import sandbox
from harness.agents.packs import AGENT, Arm, PackError, arm

SKILL = """\
---
name: {name}
description: Use when it is needed
---

# {name}

The longest line of the skill {name} by far.
Short.
"""


def write_plugin(folder, manifest='{"name": "other-pack"}', agents=("builder", "tester"), skills=("orders",)):
    files = {f"agents/{name}.md": SKILL.format(name=name) for name in agents}
    files |= {f"skills/{name}/SKILL.md": SKILL.format(name=name) for name in skills}
    if manifest is not None:
        files[".claude-plugin/plugin.json"] = manifest
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def test_bare_loads_nothing(tmp_path):
    bare = arm("bare")
    assert bare == Arm("bare")
    assert (bare.agent, bare.stage(tmp_path / "pack")) == (None, None)
    assert not (tmp_path / "pack").exists()


def test_any_plugin_is_an_arm_under_a_name(tmp_path):
    made = arm(f"other={write_plugin(tmp_path)}")
    assert (made.name, made.folder, made.plugin) == ("other", tmp_path, "other-pack")
    assert (list(made.agents), list(made.skills)) == (["builder", "tester"], ["orders"])
    assert made.agent == "other-pack:builder"
    assert made.skills["orders"] == "The longest line of the skill orders by far."


def test_the_developer_is_the_agent_where_there_is_one(tmp_path):
    made = arm(f"other={write_plugin(tmp_path, agents=('an-agent', AGENT))}")
    assert made.agent == f"other-pack:{AGENT}"


def test_a_plugin_of_skills_has_no_agent(tmp_path):
    made = arm(f"other={write_plugin(tmp_path, agents=())}")
    assert (made.agent, list(made.skills)) == (None, ["orders"])


def test_a_path_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_plugin(tmp_path / "pack")
    assert arm("other=~/pack").folder == tmp_path / "pack"


def test_only_the_parts_of_a_plugin_are_staged(tmp_path):
    folder = write_plugin(tmp_path / "source")
    for path in (
        "evals/tasks/x/checks/test_x.py",
        "tests/test_x.py",
        "agents/__pycache__/x.pyc",
        "LICENSE",
        "README.md",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("text")
    target = arm(f"other={folder}").stage(tmp_path / "staged")
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()) == [
        ".claude-plugin/plugin.json",
        "LICENSE",
        "agents/builder.md",
        "agents/tester.md",
        "skills/orders/SKILL.md",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the name may have small letters"),
        ("Pack", "the name may have small letters"),
        ("a b=/tmp", "the name may have small letters"),
        ("../x=/tmp", "the name may have small letters"),
        ("other", "is neither bare nor pack; give another one as NAME=PATH"),
        ("other=", "is neither bare nor pack; give another one as NAME=PATH"),
        ("bare=/tmp", "bare is the arm without a plugin; give the folder another name"),
        ("other=/nowhere/at/all", "/nowhere/at/all is no plugin: it has no .claude-plugin/plugin.json"),
    ],
)
def test_an_arm_that_is_none_is_refused(text, problem):
    with pytest.raises(PackError) as refused:
        arm(text)
    assert str(refused.value).startswith("--arm ")
    assert problem in str(refused.value)


@pytest.mark.parametrize("manifest", ["{", "[]", "{}", '"name"', "\x00"])
def test_a_manifest_without_a_name_is_refused(tmp_path, manifest):
    write_plugin(tmp_path, manifest=manifest)
    with pytest.raises(PackError, match=r"plugin\.json can't be read \(.*\); it needs a name"):
        arm(f"other={tmp_path}")


def test_a_plugin_without_agents_and_skills_is_refused(tmp_path):
    write_plugin(tmp_path, agents=(), skills=())
    with pytest.raises(PackError, match=r"has neither agents/\*\.md nor skills/\*/SKILL\.md"):
        arm(f"other={tmp_path}")


@pytest.mark.parametrize(
    ("content", "marker"),
    [
        ("No frontmatter, one line.\n", "No frontmatter, one line."),
        ("---\nname: a very long line of the frontmatter\n---\nBody.\n", "Body."),
        ("a\nThe ${CLAUDE_PLUGIN_ROOT} line is replaced when it is loaded\nThe next\n", "The next"),
        ("short\n" * 12 + "a line too far down to be looked at\n", "short"),
        ("", "builder"),
        (b"\xff\nA line of text\n", "A line of text"),
    ],
)
def test_a_marker_is_the_longest_of_the_first_lines_of_the_body(tmp_path, content, marker):
    write_plugin(tmp_path, agents=("builder",))
    (tmp_path / "agents" / "builder.md").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert arm(f"other={tmp_path}").agents == {"builder": marker}


def test_pack_is_this_repository():
    made = arm("pack")
    assert (made.folder, made.plugin) == (
        sandbox.ROOT,
        json.loads((sandbox.ROOT / ".claude-plugin/plugin.json").read_text())["name"],
    )
    assert made.agent == f"fastapi-pack:{AGENT}"


def test_the_markers_of_this_repository_tell_its_parts_apart():
    """A skill counts as loaded when its marker is seen, so no other text that an agent reads may hold it."""
    made = arm("pack")
    markers = {**made.agents, **made.skills}
    assert len(set(markers.values())) == len(markers) >= 5
    texts = {path: path.read_text() for part in ("agents", "skills") for path in (sandbox.ROOT / part).rglob("*.md")}
    for name, marker in markers.items():
        assert len(marker) > 30, (name, marker)
        assert sum(marker in content for content in texts.values()) == 1, (name, marker)
