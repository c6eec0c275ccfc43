"""An arm: what is loaded beside the bare Claude Code, and the texts by which it is recognised in requests."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..sandbox import ROOT
from ..workspace import LITTER

AGENT = "fastapi-backend-developer"
# A plugin's parts. Nothing else of a repository reaches the agent: the checks lie in the same repository.
PARTS = (".claude-plugin", "agents", "skills", "hooks", "LICENSE")
FRONTMATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


class PackError(ValueError):
    """An arm that can't be used; the text says what to do."""


@dataclass(frozen=True)
class Arm:
    """`folder` is None for the bare arm. Markers are lines of the bodies that stand nowhere else."""

    name: str
    folder: Path | None = None
    plugin: str = ""
    agents: Mapping[str, str] = field(default_factory=dict)
    skills: Mapping[str, str] = field(default_factory=dict)

    @property
    def agent(self) -> str | None:
        """The agent to delegate to, as Claude Code names a plugin's agent."""
        if not self.agents:
            return None
        name = AGENT if AGENT in self.agents else min(self.agents)
        return f"{self.plugin}:{name}"

    def stage(self, target: Path) -> Path | None:
        """Copy the plugin's parts to `target`, which is what the agent's sandbox shows."""
        if self.folder is None:
            return None
        target.mkdir(parents=True)
        for part in PARTS:
            source = self.folder / part
            if source.is_dir():
                shutil.copytree(source, target / part, ignore=LITTER)
            elif source.is_file():
                shutil.copy2(source, target / part)
        return target


def arm(text: str) -> Arm:
    """`bare`, `pack` (this repository), or `NAME=PATH` (any plugin folder). Raises PackError."""
    name, _, path = text.partition("=")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise PackError(f"--arm {text}: the name may have small letters, digits and . _ - only")
    if path and name == "bare":
        raise PackError(f"--arm {text}: bare is the arm without a plugin; give the folder another name")
    if path:
        return _plugin(name, Path(path).expanduser().resolve())
    if name == "bare":
        return Arm("bare")
    if name == "pack":
        return _plugin("pack", ROOT)
    raise PackError(f"--arm {text}: is neither bare nor pack; give another one as NAME=PATH of a plugin's folder")


def _plugin(name: str, folder: Path) -> Arm:
    manifest = folder / ".claude-plugin" / "plugin.json"
    if not manifest.is_file():
        raise PackError(f"--arm {name}: {folder} is no plugin: it has no .claude-plugin/plugin.json")
    try:
        plugin = str(json.loads(manifest.read_text(encoding="utf-8"))["name"])
    except (ValueError, KeyError, TypeError) as error:
        raise PackError(f"--arm {name}: {manifest} can't be read ({error}); it needs a name") from None
    agents = {path.stem: path for path in sorted(folder.glob("agents/*.md"))}
    skills = {path.parent.name: path for path in sorted(folder.glob("skills/*/SKILL.md"))}
    if not agents and not skills:
        raise PackError(f"--arm {name}: {folder} has neither agents/*.md nor skills/*/SKILL.md")
    documents = {*agents.values(), *skills.values(), *folder.glob("skills/*/references/*.md")}
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in documents}
    return Arm(
        name,
        folder,
        plugin,
        {key: _marker(path, texts) for key, path in agents.items()},
        {key: _marker(path, texts) for key, path in skills.items()},
    )


def _marker(path: Path, texts: Mapping[Path, str]) -> str:
    """The longest line of the first ones of the body that no other text of the pack has."""
    others = [text for other, text in texts.items() if other != path]
    lines = [line.strip() for line in FRONTMATTER.sub("", texts[path]).splitlines()]
    # ${...} is replaced before a model sees it.
    own = [line for line in lines if line and "${" not in line and not any(line in text for text in others)]
    return max(own[:12], key=len, default=path.stem)
