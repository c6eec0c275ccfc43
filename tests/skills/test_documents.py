"""What the skills and the agent say in Markdown: sizes, links, and code that runs."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SKILLS = sorted((ROOT / "skills").glob("*/SKILL.md"))
AGENTS = sorted((ROOT / "agents").glob("*.md"))
DOCUMENTS = [*SKILLS, *sorted((ROOT / "skills").glob("*/references/*.md"))]
PYTHON = ROOT / ".venv-service" / "bin" / "python"
CHARACTERS_PER_TOKEN = 3.5


def tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN


def parts(path: Path) -> tuple[dict[str, str], str]:
    """Frontmatter and body."""
    _, head, body = path.read_text().split("---\n", 2)
    meta: dict[str, str] = yaml.safe_load(head)
    return meta, body


@pytest.mark.parametrize("path", SKILLS, ids=lambda path: path.parent.name)
def test_skill_is_portable_and_small(path):
    meta, body = parts(path)
    assert set(meta) == {"name", "description"}
    assert meta["name"] == path.parent.name
    assert len(meta["description"]) <= 250
    assert tokens(body) <= 2500


@pytest.mark.parametrize("path", SKILLS, ids=lambda path: path.parent.name)
def test_skill_names_each_reference_and_each_exists(path):
    named = set(re.findall(r"references/([\w-]+\.md)", path.read_text()))
    assert named == {file.name for file in (path.parent / "references").glob("*.md")}


def test_always_loaded_text_is_small():
    described = [parts(path)[0] for path in (*AGENTS, *SKILLS)]
    assert sum(tokens(f"{meta['name']}: {meta['description']}") for meta in described) <= 500


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_agent_is_small_and_names_only_skills_that_exist(path):
    meta, body = parts(path)
    assert meta["name"] == path.stem
    assert len(meta["description"]) <= 1000
    assert tokens(body) <= 1500
    known = {skill.parent.name for skill in SKILLS} | {path.stem}
    assert set(re.findall(r"`(fastapi-[a-z-]+)`", body)) <= known


FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)
FENCES = [
    pytest.param(code, id=f"{path.parent.name}-{path.stem}-{number}")
    for path in DOCUMENTS
    for number, code in enumerate(FENCE.findall(path.read_text()))
]


@pytest.mark.parametrize("code", FENCES)
def test_python_in_documents_runs(notes, code):
    if "async def test_" in code:
        (notes.path / "tests" / "test_fence.py").write_text(code)
        notes.check("-W", "error", "-m", "pytest", "-q", "tests/test_fence.py")
    else:
        notes.check("-W", "error", "-c", code, DATABASE_URL="sqlite+aiosqlite:///:memory:", LOG_LEVEL="ERROR")


def test_commands_that_copy_make_a_service_that_passes_its_tests(workspace_at, tmp_path):
    """The assembling commands of all skills, one after the other in an empty folder, under bash."""
    commands = [
        block.replace("${CLAUDE_SKILL_DIR}", str(skill.parent)).replace("python ", f"{PYTHON} ")
        for skill in SKILLS
        for block in re.findall(r"```bash\n(.*?)```", skill.read_text(), re.DOTALL)
        if "/scripts/assemble.py" in block
    ]
    assert len(commands) >= 10
    script = tmp_path / "assemble.sh"
    script.write_text("set -e\n" + "".join(commands))
    subprocess.run(["bash", script.name], cwd=tmp_path, check=True, capture_output=True)
    script.unlink()
    workspace = workspace_at(tmp_path)
    assert "await upgrade(" in (tmp_path / "app" / "application.py").read_text()
    some = ["tests/test_health.py", "tests/test_user_routes.py", "tests/test_share_links.py"]
    assert "passed" in workspace.check("-W", "error", "-m", "pytest", "-q", *some)
