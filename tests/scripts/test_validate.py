import builtins
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import validate
from harness.agents.claude import CLI

ROOT = Path(__file__).resolve().parents[2]
AGENT = "agents/builder.md"
SKILL = "skills/laying/SKILL.md"
PAGE = "skills/laying/references/rows.md"
PLUGIN = ".claude-plugin/plugin.json"
MARKET = ".claude-plugin/marketplace.json"
HOOKS = "hooks/hooks.json"


def agent(*lines, body="You build."):
    return "\n".join(["---", "name: builder", "description: Builds", *lines, "---", body, ""])


def skill(*lines, name="laying", body="Lay."):
    return "\n".join(["---", f"name: {name}", f"description: Use when {name}", *lines, "---", body, ""])


def manifest(**keys):
    first = {"name": "small", "version": "1.0.0", "description": "Small"}
    return json.dumps(first | keys | {"author": {"name": "us"}}, indent=1)


def market(**keys):
    entry = {"name": "small", "source": "./"}
    shop = {"name": "shop", "owner": {"name": "us"}, "plugins": [entry | keys], "description": "Small things"}
    return json.dumps(shop, indent=1)


def hook(event="PostToolUse", command="${CLAUDE_PLUGIN_ROOT}/hooks/look.sh"):
    handler = {"type": "command", "command": f'"{command}"'}
    return json.dumps({"hooks": {event: [{"hooks": [handler]}]}}, indent=1)


GOOD = {
    PLUGIN: manifest(),
    MARKET: market(),
    HOOKS: hook(),
    "hooks/look.sh": "",
    AGENT: agent("tools: [Read, 'Bash(git log:*)', Skill, mcp__files__read]", "skills: laying", "model: sonnet"),
    SKILL: skill("allowed-tools: Read Bash(git:*)", body="Read references/rows.md and [rows](references/rows.md#top)."),
    PAGE: "# Rows\n```python\nrows = await count()\n```\n",
    "skills/mixing/SKILL.md": skill(name="mixing"),
    "skills/mixing/snippets/mortar.py": "mortar = 1\n",
}
LONG = "x" * 300
BLOCK = "```{}\n{}\n```\n".format
# Each rule: what it must reject, with the lines of its findings, and what is nearly the same and must pass.
CASES = {
    "frontmatter-missing": [
        ({"agents/README.md": "# Agents\n"}, "agents/README.md", [1]),
        ({AGENT: "---\nname: builder\ndescription: Builds\n"}, AGENT, [1]),
        ({SKILL: "# Laying\n"}, SKILL, [1]),
        ({"agents/notes.txt": "# Notes\n", "skills/README.md": "# Skills\n"}, None, []),
        ({AGENT: "\ufeff" + agent().replace("\n", "\r\n")}, None, []),
    ],
    "list-unclosed": [
        ({AGENT: agent("tools: [Read, Bash", "model: sonnet")}, AGENT, [4]),
        ({AGENT: agent("skills: [laying", "  ")}, AGENT, [4]),
        ({AGENT: agent("observeToolResults: '[a, b'")}, AGENT, [4]),
        ({AGENT: agent("tools: [Read,", "  Bash]", "model: sonnet")}, None, []),
    ],
    "frontmatter-broken": [
        ({SKILL: skill("license: a: b")}, SKILL, [4]),
        ({SKILL: "---\n- name\n---\n"}, SKILL, [1]),
        ({SKILL: skill("license: 'a: b'")}, None, []),
    ],
    "key-twice": [
        ({AGENT: agent("model: sonnet", "model: opus")}, AGENT, [5]),
        ({AGENT: agent("experimental: {cacheTtl: 5m}")}, None, []),
    ],
    "key-missing": [
        ({AGENT: "---\nname: builder\n---\nBody.\n"}, AGENT, [1]),
        ({SKILL: "---\nname: laying\ndescription: ' '\n---\n"}, SKILL, [3]),
    ],
    "key-unknown": [
        ({AGENT: agent("allowed-tools: Read")}, AGENT, [4]),
        ({AGENT: agent("max_turns: 3")}, AGENT, [4]),
        ({SKILL: skill("tools: Read")}, SKILL, [4]),
        ({SKILL: skill("disableModelInvocation: false", "when_to_use: often")}, None, []),
    ],
    "key-ignored": [
        ({AGENT: agent("permissionMode: plan", "hooks: {}", "mcpServers: {}")}, AGENT, [4, 5, 6]),
        ({AGENT: agent("permissionMode: plan"), PLUGIN: None, MARKET: None, HOOKS: None}, None, []),
    ],
    "value-wrong": [
        ({AGENT: agent("color: mauve", "maxTurns: 0", "model: gpt", "effort: huge")}, AGENT, [4, 5, 6, 7]),
        ({AGENT: agent("tools: 3")}, AGENT, [4]),
        ({SKILL: "---\nname: laying\ndescription: [a, b]\n---\n"}, SKILL, [3]),
        ({AGENT: agent("color: cyan", "maxTurns: 9", "model: claude-opus-5-5", "effort: 3")}, None, []),
    ],
    "tool-unknown": [
        ({AGENT: agent("tools: Read, Grepp, Bash(git log:*, x)")}, AGENT, [4]),
        ({AGENT: agent("disallowedTools: [LS]")}, AGENT, [4]),
        ({SKILL: skill("allowed-tools: read")}, SKILL, [4]),
        ({AGENT: agent("tools: '*'", "disallowedTools: mcp__web__*, Agent(x)")}, None, []),
    ],
    "skill-tool-missing": [
        ({AGENT: agent("tools: Read", body="Load `laying` and `small:mixing`.")}, AGENT, [4, 4]),
        ({AGENT: agent("tools: Read", "skills: laying", body="Load `laying`.")}, None, []),
        ({AGENT: agent("tools: Read, Skill", body="Load `laying`.")}, None, []),
        ({AGENT: agent(body="Load `laying`.")}, None, []),
    ],
    "name-differs": [
        ({SKILL: skill(name="layering"), AGENT: agent()}, SKILL, [2]),
        ({AGENT: agent().replace("name: builder", "name: mason")}, None, []),
    ],
    "name-form": [
        ({AGENT: agent().replace("name: builder", "name: The Builder")}, AGENT, [2]),
        ({AGENT: agent().replace("name: builder", f"name: {'b' * 65}")}, AGENT, [2]),
        ({AGENT: agent().replace("name: builder", f"name: b2-{'b' * 61}")}, None, []),
    ],
    "name-twice": [
        ({"agents/second.md": agent()}, "agents/second.md", [2]),
        ({"agents/second.md": agent().replace("name: builder", "name: builder-2")}, None, []),
        ({"agents/laying.md": agent().replace("name: builder", "name: laying")}, None, []),
    ],
    "description-long": [
        ({SKILL: skill().replace("Use when laying", "x" * 251)}, SKILL, [3]),
        ({AGENT: agent().replace("Builds", "x" * 1001)}, AGENT, [3]),
        ({SKILL: skill().replace("Use when laying", "x" * 250)}, None, []),
        ({AGENT: agent().replace("Builds", "x" * 1000)}, None, []),
    ],
    "text-long": [
        ({SKILL: skill(body="x" * 8750)}, SKILL, [1]),
        ({AGENT: agent(body="x" * 5250)}, AGENT, [1]),
        ({SKILL: skill(body="x" * 8600), AGENT: agent(body="x" * 5150), PAGE: "x" * 9000}, None, []),
    ],
    "listing-long": [
        (
            {f"skills/s{n}/SKILL.md": skill(name=f"s{n}").replace("Use", "x" * (215 + n)) for n in range(8)},
            "skills/s7/SKILL.md",
            [3],
        ),
        ({f"skills/s{n}/SKILL.md": skill(name=f"s{n}").replace("Use", "x" * 190) for n in range(8)}, None, []),
    ],
    "skill-missing": [
        ({"skills/painting.md": skill(name="painting")}, "skills/painting.md", [1]),
        ({"skills/painting/skill.md": skill(name="painting")}, "skills/painting", [1]),
        ({"skills/.git/x": "", "skills/group/painting/SKILL.md": skill(name="painting")}, None, []),
    ],
    "preload-missing": [
        ({AGENT: agent("skills: layin, small:mixin")}, AGENT, [4, 4]),
        ({SKILL: skill("disable-model-invocation: true")}, AGENT, [5]),
        ({AGENT: agent("skills: [small:laying, other:thing]")}, None, []),
    ],
    "text-not-utf8": [
        ({PAGE: b"# Rows\nM\xf6rtel\n"}, PAGE, [2]),
        ({PAGE: "# Rows\nMörtel\n"}, None, []),
    ],
    "link-missing": [
        ({PAGE: "# Rows\n[a](gone.md) ![b](<gone.png>)\n[c]: gone/d.md\n"}, PAGE, [2, 2, 3]),
        ({SKILL: skill(body="references/gone.md\n" + BLOCK("bash", "cp ${CLAUDE_SKILL_DIR}/gone x"))}, SKILL, [5, 7]),
        ({AGENT: agent(body="Run ${CLAUDE_PLUGIN_ROOT}/scripts/gone.py")}, AGENT, [5]),
        (
            {
                SKILL: skill(
                    body="[a](https://x.y) [b](#top) [c](mailto:a@b.c) [d](placeholder) `[e](gone.md)`\n"
                    "cp ${CLAUDE_SKILL_DIR}/../mixing/snippets/mortar.py scripts/theirs.py\n"
                    "cp ${CLAUDE_SKILL_DIR}/../mixing/snippets/{a,b}.py .\n"
                    + BLOCK("text", "[f](gone.md)")
                ),
                AGENT: agent(body="[a](../skills/laying/SKILL.md), references/gone.md of the project"),
            },
            None,
            [],
        ),
    ],
    "link-case": [
        ({PAGE: "[a](../skill.md) [b](Rows.md)\n"}, PAGE, [1, 1]),
        ({SKILL: skill(body="See References/rows.md and references/ROWS.md")}, SKILL, [5]),
        ({PAGE: "[a](../SKILL.md) [b](rows.md) [c](../references/)\n"}, None, []),
    ],
    "code-broken": [
        ({PAGE: BLOCK("python", "a = 1\ndef f(:")}, PAGE, [3]),
        ({PAGE: BLOCK("bash", "if true; then\necho") + BLOCK("sh", "echo 'a")}, PAGE, [3, 6]),
        ({PAGE: BLOCK("json", '{\n"a": 1,\n}')}, PAGE, [4]),
        ({PAGE: BLOCK("yaml", "a: b: c") + BLOCK("toml", "a = ")}, PAGE, [2, 5]),
        ({PAGE: "- one\n\n  1. ```python\n     a = \n     ```\n> ```json\n> {\n> ```\n"}, PAGE, [4, 7]),
        ({PAGE: "```python\na = 1\n"}, PAGE, [1]),
        (
            {
                PAGE: BLOCK("python", ">>> a = 1\n>>> a\n1")
                + BLOCK("python", "    import re\n    re.compile('\\d')")
                + BLOCK("py", "async with a:\n    ...")
                + BLOCK("yaml", "a: !Ref b\n---\nc: d")
                + BLOCK("toml", "[a]\nb = 1")
                + BLOCK("bash", "set -e\nfor a in b; do echo $a; done")
                + BLOCK("json", '{"a": 1}')
                + BLOCK("", "def f(:")
                + BLOCK("text", "{")
                + "1. ```sh\n   cat <<E\n   a\n   E\n   ```\n"
                + "````markdown\n```python\ndef f(:\n```\n````\n"
            },
            None,
            [],
        ),
    ],
    "manifest-broken": [
        ({PLUGIN: '{\n"name": "small",\n}'}, PLUGIN, [3]),
        ({MARKET: "[]"}, MARKET, [1]),
        ({HOOKS: "{"}, HOOKS, [1]),
    ],
    "manifest-key-unknown": [
        ({PLUGIN: manifest(evals="evals/triggers")}, PLUGIN, [5]),
        ({MARKET: market(sourse="./")}, MARKET, [10]),
        ({PLUGIN: manifest(experimental={"evals": "x"}), MARKET: market(tags=["a"], license="MIT")}, None, []),
    ],
    "manifest-key-missing": [
        ({PLUGIN: manifest(description="")}, PLUGIN, [2]),
        ({MARKET: '{"name": "shop", "owner": {"name": "us"}, "plugins": [{"name": "small"}]}'}, MARKET, [1]),
    ],
    "version-form": [
        ({PLUGIN: manifest(version="1.0")}, PLUGIN, [3]),
        ({PLUGIN: manifest(version="01.0.0")}, PLUGIN, [3]),
        ({PLUGIN: manifest(version="1.0.0-rc.1+build.5")}, None, []),
    ],
    "path-missing": [
        ({PLUGIN: manifest(hooks="./hooks/Hooks.json")}, PLUGIN, [5]),
        ({MARKET: market(source="./plugins/gone")}, MARKET, [9]),
        ({PLUGIN: manifest(hooks={"hooks": {}}, agents=["./agents/"])}, None, []),
        ({MARKET: market(source={"source": "url"})}, None, []),
    ],
    "entry-differs": [
        ({MARKET: market(version="2.0.0")}, MARKET, [10]),
        ({MARKET: market(name="smal")}, MARKET, [8]),
        ({MARKET: market().replace("\n ]", ', {"name": "small", "source": {"source": "npm"}}\n ]')}, MARKET, [8]),
        ({MARKET: market(version="1.0.0")}, None, []),
    ],
    "hook-broken": [
        ({HOOKS: '{"PostToolUse": []}'}, HOOKS, [1]),
        ({HOOKS: hook(event="AfterToolUse")}, HOOKS, [3]),
        ({HOOKS: hook(command="${CLAUDE_PLUGIN_ROOT}/hooks/gone.sh")}, HOOKS, [8]),
        ({HOOKS: '{"modules": []}'}, None, []),
    ],
}  # fmt: skip
REJECTED = [(rule, files, path, lines) for rule, cases in CASES.items() for files, path, lines in cases if path]
ACCEPTED = [(rule, files) for rule, cases in CASES.items() for files, path, _ in cases if not path]


def write(folder, made):
    for path, text in made.items():
        place = folder / path
        if text is None:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def found(tmp_path, capsys):
    """`found(files, *arguments)`: the findings in the good pack with these files in it, as JSON tells them."""

    def found(made, *arguments, status=None):
        write(tmp_path / "pack", GOOD | made)
        given = validate.main([str(tmp_path / "pack"), "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        assert given == (1 if told["findings"] else 0)
        return told["findings"]

    return found


def test_a_good_pack_has_no_findings(found):
    assert found({}) == []


@pytest.mark.parametrize(("rule", "files", "path", "lines"), REJECTED)
def test_a_rule_rejects(found, tmp_path, rule, files, path, lines):
    told = found(files)
    assert [(one["path"], one["line"], one["rule"]) for one in told] == [
        (str(tmp_path / "pack" / path), line, rule) for line in lines
    ]
    assert all(one["message"] and one["mend"] for one in told)


@pytest.mark.parametrize(("rule", "files"), ACCEPTED)
def test_a_rule_accepts_what_is_nearly_the_same(found, rule, files):
    assert found(files) == []


def test_every_rule_has_what_it_rejects():
    assert {rule for rule, *_ in REJECTED} == set(validate.RULES)


def test_claude_code_itself_lets_these_pass(tmp_path, capsys):
    """Each is a fault of its own in a pack that is valid otherwise: the reason why this linter is there."""
    faults = {
        "agents/one.md": agent("tools: [Read, Bash"),
        "agents/two.md": agent("tools: Read, Grepp"),
        "agents/three.md": agent("max_turns: 3", "color: mauve"),
        "agents/four.md": agent("permissionMode: plan", "mcpServers: {}"),
        "agents/five.md": agent("skills: gone"),
        "agents/six.md": agent(body="x" * 9000),
        "skills/seven/SKILL.md": skill(name="The Eighth"),
        "skills/nine/SKILL.md": skill(name="nine").replace("Use", "x" * 1900),
        "skills/ten/SKILL.md": skill("tools: Read", name="ten", body="[a](gone.md)\n" + BLOCK("python", "def f(:")),
        "skills/laying/references/other.md": "[a](Rows.md)\n",
        "skills/eleven.md": skill(name="eleven"),
        "skills/twelve/skill.md": skill(name="twelve"),
        PLUGIN: manifest(version="1.0"),
    }
    write(tmp_path / "pack", GOOD | faults)
    environment = {
        "HOME": str(tmp_path),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "config"),
        "PATH": os.environ["PATH"],
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    command = [CLI, "plugin", "validate", "--strict", tmp_path / "pack"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert validate.main([str(tmp_path / "pack"), "--json"]) == 1
    assert {one["rule"] for one in json.loads(capsys.readouterr().out)["findings"]} == {
        "list-unclosed", "tool-unknown", "key-unknown", "value-wrong", "key-ignored", "preload-missing", "text-long",
        "name-differs", "name-form", "name-twice", "description-long", "listing-long", "link-missing", "code-broken",
        "link-case", "skill-missing", "version-form",
    }  # fmt: skip


# ---------------------------------------------------------------------- what is inspected


def test_the_pack_of_this_repository_is_clean(capsys):
    assert validate.main([str(ROOT)]) == 0
    agents, skills = (len(list(ROOT.glob(pattern))) for pattern in ("agents/*.md", "skills/*/SKILL.md"))
    assert capsys.readouterr().out.startswith(f"Inspected {agents} agent{'s' * (agents > 1)}, {skills} skills, ")


def test_findings_are_lines_that_editors_understand(tmp_path, capsys, monkeypatch):
    write(tmp_path, GOOD | {AGENT: agent("tools: [Read, Bash")})
    monkeypatch.chdir(tmp_path)
    assert validate.main([]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "agents/builder.md:4: list-unclosed tools opens a list that is never closed (add ])",
        "Inspected 1 agent, 2 skills, 1 page, 3 manifests: 1 finding.",
    ]


@pytest.mark.parametrize(
    ("made", "counted"),
    [
        ({AGENT: agent()}, (1, 0, 0, 0)),
        ({f".claude/{AGENT}": agent(), f".claude/{SKILL}": skill()}, (1, 1, 0, 0)),
        ({"SKILL.md": skill(name="pack"), "references/a.md": "A.\n", ".hidden/b.md": "B.\n"}, (0, 1, 1, 0)),
        ({f"plugins/a/{PLUGIN}": manifest(), f"plugins/a/{AGENT}": agent(),
          MARKET: market(source="./plugins/a")}, (1, 0, 0, 2)),
        ({PLUGIN: manifest(agents="./team/builder.md", skills=["./more", "./one"]), "team/builder.md": agent(),
          "team/other.md": "", "more/laying/SKILL.md": skill(), "one/SKILL.md": skill(name="one"),
          "skills/mixing/SKILL.md": skill(name="mixing")}, (1, 3, 0, 1)),
    ],
)  # fmt: skip
def test_packs_of_every_shape_are_inspected(tmp_path, capsys, made, counted):
    write(tmp_path / "pack", made)
    assert validate.main([str(tmp_path / "pack"), "--json"]) == 0
    assert tuple(json.loads(capsys.readouterr().out)["inspected"].values()) == counted


@pytest.mark.parametrize("made", [{}, {"README.md": "A.\n"}, {"agents/notes.txt": "A.\n"}, {"skills/x.md": "A.\n"}])
def test_nothing_inspected_is_a_failure(tmp_path, capsys, made):
    (tmp_path / "pack").mkdir()
    write(tmp_path / "pack", made)
    assert validate.main([str(tmp_path / "pack")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("nothing was inspected\n")


def test_a_pack_that_is_not_there_is_a_failure(tmp_path, capsys):
    assert validate.main([str(tmp_path / "gone")]) == 2
    assert "is no folder: give a plugin" in capsys.readouterr().err


def test_limits_are_options(found):
    assert found({}, "--listing-tokens", "5")[0]["rule"] == "listing-long"
    assert found({}, "--skill-description", "5", "--agent-tokens", "5")[0]["rule"] == "text-long"
    assert found({SKILL: skill().replace("laying\n---", f"{LONG}\n---")}, "--skill-description", "400") == []


def test_without_yaml_it_says_so(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert validate.main([str(ROOT)]) == 2
    assert capsys.readouterr().err == "validate.py: PyYAML is missing: python -m pip install pyyaml\n"


def test_without_bash_it_says_so(tmp_path, monkeypatch, capsys):
    write(tmp_path / "pack", GOOD | {PAGE: BLOCK("bash", "true")})
    monkeypatch.setenv("PATH", "")
    assert validate.main([str(tmp_path / "pack")]) == 2
    assert "there is no bash" in capsys.readouterr().err


def test_it_is_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/validate.py", "--help"], capture_output=True, text=True, check=True
    )
    assert all(rule in done.stdout.replace("\n", " ") for rule in ("list-unclosed", "preload-missing"))
