#!/usr/bin/env python3
"""Finds in agents, skills and manifests what `claude plugin validate --strict` lets pass.

PACK is a plugin, a marketplace with plugins in it, a `.claude` folder, a project that has one, or a single skill.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import doctest
import json
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

CHARACTERS_PER_TOKEN = 3.5
HIDDEN = re.compile(r"\.|__pycache__$|node_modules$")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AGENT_KEYS = words("""
    name description model tools disallowedTools skills permissionMode maxTurns effort background memory hooks
    mcpServers isolation initialPrompt color omitClaudeMd autoCompactWindow observer observerMessage observeSubagents
    observeToolResults experimental when_to_use
""")
IGNORED_IN_PLUGINS = words("hooks mcpServers permissionMode initialPrompt observer observerMessage observeSubagents")
SKILL_KEYS = words("""
    name description license compatibility metadata allowed-tools disallowed-tools when-to-use disable-model-invocation
    user-invocable context agent background paths model effort argument-hint shell hooks version
""")
PLUGIN_KEYS = words("""
    $schema name displayName version description keywords license author homepage repository defaultEnabled dependencies
    engines metadata network agents skills commands hooks mcpServers lspServers outputStyles workflows settings
    userConfig channels types binaries experimental icon
""")
MARKETPLACE_KEYS = words("""
    $schema name owner plugins version description metadata forceRemoveDeletedPlugins renames
    allowCrossMarketplaceDependenciesOn
""")
ENTRY_KEYS = PLUGIN_KEYS | words("source category tags strict headers headersHelper relevance")
# Another file's word for the same thing.
MEANT = {
    "allowed-tools": "tools",
    "allowedTools": "tools",
    "tools": "allowed-tools",
    "disallowed-tools": "disallowedTools",
}
TOOLS = words("""
    Agent AskUserQuestion Bash BashOutput Brief Config CronCreate CronDelete CronList Edit EnterPlanMode EnterWorktree
    ExitPlanMode ExitWorktree Glob Grep KillShell LSP ListAgents ListMcpResourcesTool Monitor NotebookEdit NotebookRead
    PowerShell PushNotification REPL Read ReadMcpResourceTool RemoteTrigger ReportFindings ScheduleWakeup SendMessage
    SendUserMessage Skill Sleep StructuredOutput Task TaskCreate TaskGet TaskList TaskOutput TaskStop TaskUpdate
    TeamCreate TeamDelete TodoWrite ToolSearch WebBrowser WebFetch WebSearch Workflow Write
""")
EVENTS = words("""
    PreToolUse PostToolUse PostToolUseFailure PostToolBatch Notification UserPromptSubmit UserPromptExpansion Stop
    SessionStart SessionEnd StopFailure SubagentStart SubagentStop PreCompact PostCompact PreModelSwitch PostModelSwitch
    PermissionRequest PermissionDenied Setup TeammateIdle TaskCreated TaskCompleted Elicitation ElicitationResult
    ConfigChange WorktreeCreate WorktreeRemove InstructionsLoaded CwdChanged FileChanged DirectoryAdded MessageDisplay
""")
MODELS = re.compile(r"sonnet|opus|haiku|fable|inherit|claude-[\w.\[\]-]+|.*[/.:].*")
CHOICES = {
    "color": {"red", "blue", "green", "yellow", "purple", "orange", "pink", "cyan"},
    "memory": {"user", "project", "local"},
    "isolation": {"worktree"},
    "permissionMode": {"acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "manual", "plan"},
    "effort": {"low", "medium", "high", "xhigh", "max"},
}


class PackError(Exception):
    """Nothing can be said about the pack. The text says why and what to do."""


@dataclass(frozen=True)
class Problem:
    line: int
    message: str
    mend: str


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule} {self.message} ({self.mend})"


Found = Iterator[Problem]


@dataclass(frozen=True)
class Limits:
    """Characters of descriptions, and tokens (characters / 3.5) of what a session loads."""

    agent_description: int = 1000
    skill_description: int = 250
    agent_tokens: int = 1500
    skill_tokens: int = 2500
    listing_tokens: int = 500


# ---------------------------------------------------------------------- what is read


@dataclass(frozen=True, eq=False)
class Document:
    """A Markdown file. `head`: its frontmatter, or None; `meta` is empty where `trouble` says why it can't be read."""

    path: Path
    text: str
    home: Home
    head: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[tuple[str, int], ...] = ()
    trouble: Problem | None = None

    @property
    def name(self) -> str:
        """What it is called by, whatever it says: an agent's file, a skill's folder."""
        return self.path.absolute().parent.name if self.path.name == "SKILL.md" else self.path.stem

    def line(self, key: str) -> int:
        return dict(self.keys).get(key, 1)


@dataclass(frozen=True, eq=False)
class Home:
    """A folder with agents and skills: a plugin, if it has the manifest of one."""

    root: Path
    limits: Limits
    plugin: str | None = None
    agents: list[Document] = field(default_factory=list)
    skills: list[Document] = field(default_factory=list)
    pages: list[Document] = field(default_factory=list)  # the other Markdown files of skills


@dataclass(frozen=True)
class Manifest:
    path: Path
    root: Path
    text: str
    data: Any
    trouble: Problem | None = None

    def line(self, key: str) -> int:
        """The first line that has the key, or the string."""
        return next((number for number, line in enumerate(self.text.splitlines(), 1) if f'"{key}"' in line), 1)


def read_document(path: Path, home: Home) -> Document:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    match = re.match(r"---[ \t]*\n(.*?)^---[ \t]*$", text, re.MULTILINE | re.DOTALL)
    if match is None:
        return Document(path, text, home)
    head = match.group(1)
    meta, keys, trouble = read_yaml(head)
    return Document(path, text, home, head, meta, keys, trouble)


def read_yaml(head: str) -> tuple[dict[str, Any], tuple[tuple[str, int], ...], Problem | None]:
    """Frontmatter: its values, its keys with their lines in the file, and why it can't be read."""
    import yaml

    try:
        node = yaml.compose(head, Loader=yaml.SafeLoader)
        meta = yaml.safe_load(head)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        return {}, (), Problem(mark.line + 2 if mark else 1, f"is no YAML: {said}", "quote values that hold : # [ or {")
    if not isinstance(node, yaml.MappingNode):
        return {}, (), Problem(1, "is no list of keys and values", "write `name: ...` and `description: ...`")
    return meta, tuple((str(key.value), key.start_mark.line + 2) for key, _ in node.value), None


def read_manifest(path: Path, root: Path) -> Manifest:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        return Manifest(path, root, text, {}, Problem(error.lineno, f"is no JSON: {error.msg}", "mend this place"))
    if not isinstance(data, dict):
        return Manifest(path, root, text, {}, Problem(1, "is no JSON object", "begin with {"))
    return Manifest(path, root, text, data)


def tokens(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN


def names(value: Any) -> list[str]:
    """A list, or a text with commas or spaces between what it lists; commas in parentheses don't count."""
    if isinstance(value, str):
        return [part for part in re.split(r"[,\s]+(?![^()]*\))", value) if part]
    return [str(one) for one in value] if isinstance(value, list) else []


def paths(value: Any) -> list[str]:
    """A path or a list of them; what a manifest writes in place is none."""
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, str)]


def alike(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"did you mean {found[0]}?" if found else "remove it"


# ---------------------------------------------------------------------- rules for agents and skills


def frontmatter_missing(doc: Document) -> Found:
    if doc.head is None:
        unclosed = doc.text.startswith("---")
        said = "frontmatter that is not closed" if unclosed else "no frontmatter"
        yield Problem(
            1, f"has {said}, so it is not loaded", "put name and description between two lines of ---, or move it"
        )


def list_unclosed(doc: Document) -> Found:
    """`tools: [Read, Bash` loads, with one tool."""
    for match in re.finditer(
        r"^([\w-]+):[ \t]*([\"']?)\[((?:[^\]\n]|\n[ \t])*)(?:\n(?=\S)|\n?\Z)", doc.head or "", re.MULTILINE
    ):
        line = (doc.head or "").count("\n", 0, match.start()) + 2
        yield Problem(line, f"{match.group(1)} opens a list that is never closed", "add ]")


def frontmatter_broken(doc: Document) -> Found:
    if doc.trouble and not any(list_unclosed(doc)):
        yield Problem(doc.trouble.line, f"frontmatter {doc.trouble.message}", doc.trouble.mend)


def key_twice(doc: Document) -> Found:
    seen: set[str] = set()
    for key, line in doc.keys:
        if key in seen:
            yield Problem(line, f"{key} stands twice; the last one counts", "remove one")
        seen.add(key)


def key_missing(doc: Document) -> Found:
    if doc.head is None or doc.trouble:
        return
    for key in ("name", "description"):
        if not str(doc.meta.get(key) or "").strip():
            yield Problem(doc.line(key), f"has no {key}", f"add {key}: ...")


def key_unknown(known: frozenset[str], doc: Document) -> Found:
    for key, line in doc.keys:
        if key not in known and not (known is SKILL_KEYS and _kebab(key) in known):
            meant = MEANT.get(key, "")
            yield Problem(
                line, f"{key} is no key of this file", f"did you mean {meant}?" if meant in known else alike(key, known)
            )


def _kebab(key: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])|_", lambda match: f"-{(match.group(1) or '').lower()}", key)


def key_ignored(doc: Document) -> Found:
    for key, line in doc.keys:
        if doc.home.plugin and key in IGNORED_IN_PLUGINS:
            yield Problem(
                line, f"{key} is ignored in an agent of a plugin", "remove it, or ship the agent without a plugin"
            )


def value_wrong(doc: Document) -> Found:
    meta = doc.meta
    for key in ("name", "description"):
        if key in meta and meta[key] is not None and not isinstance(meta[key], str):
            yield Problem(doc.line(key), f"{key} is {type(meta[key]).__name__}, not text", "quote it")
    for key in ("tools", "disallowedTools", "skills", "allowed-tools"):
        if key in meta and not isinstance(meta[key], str | list):
            yield Problem(doc.line(key), f"{key} is no list of names", "write `A, B`, or leave the key out")
    if "maxTurns" in meta and (not isinstance(meta["maxTurns"], int) or meta["maxTurns"] < 1):
        yield Problem(doc.line("maxTurns"), "maxTurns is no positive whole number", "write one, such as 50")
    if "model" in meta and not MODELS.fullmatch(str(meta["model"])):
        yield Problem(
            doc.line("model"), f"model {meta['model']} is sent as it is and refused", "sonnet, opus, haiku, inherit"
        )
    for key, allowed in CHOICES.items():
        if key in meta and not (str(meta[key]) in allowed or (key == "effort" and isinstance(meta[key], int))):
            yield Problem(doc.line(key), f"{key} {meta[key]} is ignored", f"one of {', '.join(sorted(allowed))}")


def tool_unknown(doc: Document) -> Found:
    for key in ("tools", "disallowedTools", "allowed-tools", "disallowed-tools"):
        for name in names(doc.meta.get(key)):
            if not (
                name == "*" or re.fullmatch(r"mcp__[\w*.-]+(\(.*\))?", name) or re.sub(r"\(.*\)$", "", name) in TOOLS
            ):
                yield Problem(doc.line(key), f"{key} names {name}, which is no tool and is dropped", alike(name, TOOLS))


def skill_tool_missing(doc: Document) -> Found:
    """An agent with a list of tools sees no skill but through the Skill tool or a preload."""
    tools = names(doc.meta.get("tools"))
    if "tools" not in doc.meta or {"*", "Skill"} & {re.sub(r"\(.*", "", tool) for tool in tools}:
        return
    preloaded = {name.rpartition(":")[2] for name in names(doc.meta.get("skills"))}
    for skill in doc.home.skills:
        if skill.name not in preloaded and re.search(rf"`(?:[\w-]+:)?{re.escape(skill.name)}`", _body(doc)):
            yield Problem(
                doc.line("tools"), f"its text sends it to the skill {skill.name}, which it can't load", "add Skill"
            )


def _body(doc: Document) -> str:
    return doc.text.partition(doc.head)[2] if doc.head else doc.text


def preload_missing(doc: Document) -> Found:
    known = {name: skill for skill in doc.home.skills for name in (skill.name, str(skill.meta.get("name")))}
    for name in names(doc.meta.get("skills")):
        plugin, _, bare = name.rpartition(":")
        if plugin and plugin != doc.home.plugin:
            continue  # another plugin's, which may be installed
        if bare not in known:
            yield Problem(
                doc.line("skills"), f"skills names {name}, which is not there and is skipped", alike(bare, known)
            )
        elif known[bare].meta.get("disable-model-invocation") is True:
            yield Problem(
                doc.line("skills"), f"skills names {name}, which forbids it and is skipped", "take one of both away"
            )


def name_differs(doc: Document) -> Found:
    """Claude Code goes by the folder, other hosts by the name."""
    name = doc.meta.get("name")
    if isinstance(name, str) and name and name != doc.name:
        yield Problem(doc.line("name"), f"is called {name}, but its folder {doc.name}", "give both the same name")


def name_form(doc: Document) -> Found:
    name = doc.meta.get("name")
    if isinstance(name, str) and name and not (re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) <= 64):
        yield Problem(
            doc.line("name"), f"the name {name[:80]!r} is not portable", "at most 64 of a-z, 0-9 and single hyphens"
        )


def description_long(limit: str, doc: Document) -> Found:
    size, most = len(str(doc.meta.get("description") or "")), getattr(doc.home.limits, limit)
    if size > most:
        yield Problem(
            doc.line("description"), f"its description has {size} characters, more than {most}", "say when, not how"
        )


def text_long(limit: str, doc: Document) -> Found:
    size, most = tokens(doc.text), getattr(doc.home.limits, limit)
    if size > most:
        yield Problem(
            1, f"has about {size:.0f} tokens, more than {most}", "move what is not always needed into references/"
        )


# ---------------------------------------------------------------------- rules for every Markdown file


def text_not_utf8(doc: Document) -> Found:
    if "\ufffd" in doc.text:
        line = doc.text[: doc.text.index("\ufffd")].count("\n") + 1
        yield Problem(line, "is not UTF-8", "save it as UTF-8")


def link_missing(doc: Document) -> Found:
    for line, base, target in links(doc):
        found = spelled(base, target)
        if found is None:
            yield Problem(line, f"points at {target}, which is not there", "mend the path, or add the file")


def link_case(doc: Document) -> Found:
    for line, base, target in links(doc):
        found = spelled(base, target)
        if found not in (None, target):
            yield Problem(
                line, f"points at {target}, which is spelled {found}", "spell it alike: most systems tell them apart"
            )


# What stands before the fence of a block in a list or a quotation; the fence; the language; the code.
FENCE = re.compile(
    r"^((?:[ \t]*(?:[-*+]|\d+[.)]|>))*[ \t]*)(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n`]*\n(.*?)(?:^[ \t>]*\2[`~]*[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
# A path as skills write it: of the skill's own folders, or from where it was installed.
MENTION = re.compile(r"(?<![\w/.:}~-])((?:references|scripts|snippets|assets)/[\w./-]*\w\.\w+)(?![\w*{/])")
INSTALLED = re.compile(r"\$\{CLAUDE_(SKILL_DIR|PLUGIN_ROOT)\}/([\w./-]*\w)")


def links(doc: Document) -> Iterator[tuple[int, Path, str]]:
    """Every local path that the text points at: its line, where it starts from, and itself."""

    def line(match: re.Match[str]) -> int:
        return doc.text.count("\n", 0, match.start()) + 1

    prose = re.sub(r"`[^`\n]*`", _blank, FENCE.sub(_blank, doc.text))
    for match in LINK.finditer(prose):
        target = (match.group(1) or match.group(2)).partition("#")[0]
        if re.search(r"[./]", target) and not re.match(r"[a-zA-Z][\w+.-]*:|/", target):
            yield line(match), doc.path.parent, re.sub(r"%20", " ", target)
    skill = next((one for one in doc.path.parents if (one / "SKILL.md").is_file()), None)
    for match in INSTALLED.finditer(doc.text):
        base = doc.home.root if match.group(1) == "PLUGIN_ROOT" else skill
        if base:
            yield line(match), base, match.group(2)
    for match in MENTION.finditer(prose if skill is None else _without_links(doc.text)):
        folder = match.group(1).partition("/")[0]
        if skill and ((skill / folder).is_dir() or folder == "references"):
            yield line(match), skill, match.group(1)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


def _without_links(text: str) -> str:
    return LINK.sub(_blank, text)


def spelled(base: Path, target: str) -> str | None:
    """`target` as the disk spells it, None if there is no such thing even in another case."""
    place, parts = base, list[str]()
    for part in target.rstrip("/").split("/"):
        if part not in (".", ".."):
            there = sorted(one.name for one in place.iterdir()) if place.is_dir() else []
            match = [part] if part in there else [one for one in there if one.lower() == part.lower()]
            if not match:
                return None
            part = match[0]  # noqa: PLW2901  what the disk says
        place, parts = place / part, [*parts, part]
    return "/".join(parts) + ("/" if target.endswith("/") else "")


def code_broken(doc: Document) -> Found:
    for match in FENCE.finditer(doc.text):
        line = doc.text.count("\n", 0, match.start()) + 1
        before, fence, language, code = match.groups()
        if not match.group().rstrip().endswith(fence):
            yield Problem(line, "a code block is never closed", f"add {fence}")
            continue
        code = re.sub(rf"^[ \t>]{{0,{len(before)}}}", "", code, flags=re.MULTILINE)
        if trouble := broken(language.lower(), code):
            offset, said = trouble
            last = max(1, code.count("\n"))  # what is missing at the end is told on the line after it
            yield Problem(
                line + min(offset, last), f"the {language} block does not parse: {said}", "mend it, or call it text"
            )


def broken(language: str, code: str) -> tuple[int, str] | None:
    """The line in the block, from 1, and what is wrong with it."""
    parse = {
        **dict.fromkeys(("python", "py", "python3"), _python),
        **dict.fromkeys(("bash", "sh", "shell"), _bash),
        **dict.fromkeys(("yaml", "yml"), _yaml),
        "json": _json,
        "toml": _toml,
    }.get(language)
    return parse(code) if parse else None


def _python(code: str) -> tuple[int, str] | None:
    code = textwrap.dedent(code)
    if code.lstrip().startswith(">>>"):
        code = doctest.script_from_examples(code)
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(code)
    except (SyntaxError, ValueError) as error:
        return getattr(error, "lineno", None) or 1, getattr(error, "msg", None) or str(error)
    return None


def _bash(code: str) -> tuple[int, str] | None:
    bash = shutil.which("bash")
    if bash is None:
        raise PackError("there is no bash to check bash blocks with: install it")
    done = subprocess.run([bash, "-n"], input=code, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    match = re.search(r"line (\d+): (.*)", done.stderr)
    return (int(match.group(1)), match.group(2)) if match else (1, done.stderr.strip())


def _json(code: str) -> tuple[int, str] | None:
    try:
        json.loads(code)
    except json.JSONDecodeError as error:
        return error.lineno, error.msg
    return None


def _toml(code: str) -> tuple[int, str] | None:
    try:
        tomllib.loads(code)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        return (int(match.group(1)) if match else 1), str(error)
    return None


def _yaml(code: str) -> tuple[int, str] | None:
    import yaml

    try:
        list(yaml.compose_all(code, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return (mark.line + 1 if mark else 1), getattr(error, "problem", None) or str(error).splitlines()[0]
    return None


# ---------------------------------------------------------------------- rules for what stands together


def listing_long(home: Home) -> Iterator[tuple[Path, Problem]]:
    told = {doc: f"{doc.meta.get('description') or ''}{doc.meta.get('when_to_use') or ''}" for doc in _all(home)}
    size, most = sum(tokens(text) for text in told.values()), home.limits.listing_tokens
    if size > most:
        longest = max(_all(home), key=lambda doc: len(told[doc]))
        said = f"all {len(told)} descriptions have about {size:.0f} tokens, more than {most}; every session loads them"
        yield longest.path, Problem(longest.line("description"), said, "shorten this one first: it is the longest")


def _all(home: Home) -> list[Document]:
    return [*home.agents, *home.skills]


def name_twice(home: Home) -> Iterator[tuple[Path, Problem]]:
    for docs in (home.agents, home.skills):
        seen: dict[str, Path] = {}
        for doc in docs:
            name = str(doc.meta.get("name") or doc.name).lower()
            if name in seen:
                other = seen[name].relative_to(home.root)
                yield doc.path, Problem(doc.line("name"), f"{name} is also the name of {other}", "rename one of them")
            seen.setdefault(name, doc.path)


def skill_missing(home: Home) -> Iterator[tuple[Path, Problem]]:
    """What stands in skills/ and is no skill for Claude Code, without a word."""
    folder = home.root / "skills"
    for place in sorted(folder.iterdir()) if folder.is_dir() else []:
        if HIDDEN.match(place.name) or place.name == "README.md":
            continue
        if place.is_dir() and not (place / "SKILL.md").is_file():
            if not any(place.glob("*/SKILL.md")):
                yield (
                    place,
                    Problem(1, "has no SKILL.md, so it is no skill", "add SKILL.md, in capitals, or move the folder"),
                )
        elif place.suffix == ".md":
            yield place, Problem(1, "is a file, so it is no skill", f"move it to skills/{place.stem}/SKILL.md")


# ---------------------------------------------------------------------- rules for manifests


def manifest_broken(manifest: Manifest) -> Found:
    if manifest.trouble:
        yield manifest.trouble


def manifest_key_unknown(manifest: Manifest) -> Found:
    market = manifest.path.name == "marketplace.json"
    known = MARKETPLACE_KEYS if market else PLUGIN_KEYS
    for entry, allowed in ((manifest.data, known), *((entry, ENTRY_KEYS) for entry in _entries(manifest))):
        for key in entry:
            if key not in allowed:
                yield Problem(manifest.line(key), f"{key} is no key here", alike(key, allowed))


def manifest_key_missing(manifest: Manifest) -> Found:
    market = manifest.path.name == "marketplace.json"
    wanted: list[tuple[dict[str, Any], tuple[str, ...]]]
    wanted = [(manifest.data, ("name", "owner", "plugins") if market else ("name", "version", "description"))]
    wanted += [(entry, ("name", "source")) for entry in _entries(manifest)]
    if manifest.trouble:
        return
    for entry, keys in wanted:
        for key in keys:
            if not entry.get(key):
                yield Problem(manifest.line(str(entry.get("name", ""))), f"has no {key}", f'add "{key}"')


def _entries(manifest: Manifest) -> list[dict[str, Any]]:
    found = manifest.data.get("plugins") if manifest.path.name == "marketplace.json" else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def version_form(manifest: Manifest) -> Found:
    number = r"(0|[1-9]\d*)"
    for entry in (manifest.data, *_entries(manifest)):
        version = entry.get("version")
        if version is not None and not re.fullmatch(
            rf"{number}\.{number}\.{number}(-[\w.-]+)?(\+[\w.-]+)?", str(version)
        ):
            yield Problem(
                manifest.line("version"), f"{version} is no semantic version", "write three numbers, such as 1.2.0"
            )


def path_missing(manifest: Manifest) -> Found:
    """Files and folders that a manifest names."""
    wanted = [path for entry in _entries(manifest) for path in paths(entry.get("source"))]
    if manifest.path.name == "plugin.json":
        wanted = [
            path for key in ("agents", "skills", "commands", "hooks", "icon") for path in paths(manifest.data.get(key))
        ]
    for path in wanted:
        found = spelled(manifest.root, path)
        if found != path:
            said = "is not there" if found is None else f"is spelled {found}"
            yield Problem(manifest.line(path), f"{path} {said}", "mend the path, or add what it names")


def entry_differs(manifest: Manifest) -> Found:
    """A marketplace says the same as the plugins that it holds."""
    names: set[str] = set()
    for entry in _entries(manifest):
        name = str(entry.get("name"))
        if name in names:
            yield Problem(manifest.line(name), f"{name} stands twice", "remove one, or rename it")
        names.add(name)
        for source in paths(entry.get("source")):
            path = manifest.root / source / ".claude-plugin" / "plugin.json"
            plugin = read_manifest(path, path.parent).data if path.is_file() else {}
            for key in ("name", "version"):
                if key in entry and key in plugin and entry[key] != plugin[key]:
                    said = f"its {key} is {entry[key]}, and {plugin[key]} in the plugin's own manifest, which wins"
                    yield Problem(
                        manifest.line(str(entry[key])), said, "write it there only" if key == "version" else "agree"
                    )


def hook_broken(manifest: Manifest) -> Found:
    hooks = manifest.data.get("hooks")
    if manifest.trouble:
        return
    if not isinstance(hooks, dict) and "modules" not in manifest.data:
        yield Problem(
            1, 'has neither "hooks" nor "modules", so nothing is loaded', 'put the events into {"hooks": {...}}'
        )
    for event in hooks if isinstance(hooks, dict) else ():
        if event not in EVENTS:
            yield Problem(manifest.line(event), f"{event} is no event", alike(event, EVENTS))
    for match in re.finditer(r"\$\{CLAUDE_PLUGIN_ROOT\}/([\w./-]*\w)", manifest.text):
        if spelled(manifest.root, match.group(1)) != match.group(1):
            line = manifest.text.count("\n", 0, match.start()) + 1
            yield Problem(line, f"{match.group(1)} is not there", "mend the path, or add the file")


# ---------------------------------------------------------------------- the rules of each kind, by name


def named(*rules: Any) -> dict[str, Any]:
    return {getattr(rule, "func", rule).__name__.replace("_", "-"): rule for rule in rules}


BOTH = named(
    frontmatter_missing,
    list_unclosed,
    frontmatter_broken,
    key_twice,
    key_missing,
    value_wrong,
    tool_unknown,
    name_form,
)
EVERY = named(text_not_utf8, link_missing, link_case, code_broken)
AGENT = {
    **BOTH,
    **EVERY,
    **named(partial(key_unknown, AGENT_KEYS), key_ignored, preload_missing, skill_tool_missing),
    **named(partial(description_long, "agent_description"), partial(text_long, "agent_tokens")),
}
SKILL = {
    **BOTH,
    **EVERY,
    **named(partial(key_unknown, SKILL_KEYS), name_differs),
    **named(partial(description_long, "skill_description"), partial(text_long, "skill_tokens")),
}
TOGETHER = named(listing_long, name_twice, skill_missing)
MANIFEST = named(manifest_broken, manifest_key_unknown, manifest_key_missing, version_form, path_missing, entry_differs)
HOOKS = named(manifest_broken, hook_broken)
RULES = sorted({*AGENT, *SKILL, *TOGETHER, *MANIFEST, *HOOKS})


# ---------------------------------------------------------------------- the pack


@dataclass(frozen=True)
class Pack:
    root: Path
    homes: list[Home]
    manifests: list[Manifest]
    hooks: list[Manifest]

    def inspected(self) -> dict[str, int]:
        return {
            "agents": sum(len(home.agents) for home in self.homes),
            "skills": sum(len(home.skills) for home in self.homes),
            "pages": sum(len(home.pages) for home in self.homes),
            "manifests": len(self.manifests) + len(self.hooks),
        }


def read_pack(root: Path, limits: Limits) -> Pack:
    """Everything under `root` that Claude Code would load. Raises PackError when that is nothing."""
    if not root.is_dir():
        raise PackError(f"{root} is no folder: give a plugin, a .claude folder or a skill")
    own = any((root / name).exists() for name in (".claude-plugin", "agents", "skills", "SKILL.md"))
    places = [root if own or not (root / ".claude").is_dir() else root / ".claude"]
    manifests = [read_manifest(path, root) for path in sorted(root.glob(".claude-plugin/marketplace.json"))]
    for entry in (entry for manifest in manifests for entry in _entries(manifest)):
        places += [place for path in paths(entry.get("source")) if (place := root / path).is_dir()]
    homes, hooks, seen = [], [], set()
    for place in places:
        if place.resolve() not in seen:
            seen.add(place.resolve())
            plugin = [read_manifest(path, place) for path in place.glob(".claude-plugin/plugin.json")]
            manifests += plugin
            hooks += [read_manifest(path, place) for path in place.glob("hooks/hooks.json")]
            homes.append(read_home(place, limits, plugin[0] if plugin else None))
    pack = Pack(root, homes, manifests, hooks)
    if not any(pack.inspected().values()):
        raise PackError(f"{root} has no agents/*.md, skills/*/SKILL.md or .claude-plugin/*.json: nothing was inspected")
    return pack


def read_home(root: Path, limits: Limits, plugin: Manifest | None) -> Home:
    data = plugin.data if plugin else {}
    home = Home(root, limits, str(data.get("name")) if plugin else None)
    for place in paths(data.get("agents")) or ["agents"]:
        found = sorted((root / place).rglob("*.md")) if (root / place).is_dir() else [root / place]
        home.agents.extend(read_document(path, home) for path in found if path.is_file())
    if (root / "SKILL.md").is_file():
        home.skills.append(read_document(root / "SKILL.md", home))
    for place in ["skills", *paths(data.get("skills"))]:
        for path in sorted([*(root / place).glob("SKILL.md"), *(root / place).glob("*/SKILL.md")]):
            if path not in {doc.path for doc in home.skills}:
                home.skills.append(read_document(path, home))
    for skill in home.skills:
        for path in sorted(skill.path.parent.rglob("*.md")):
            inner = path.relative_to(skill.path.parent).parts
            if path != skill.path and not any(HIDDEN.match(part) for part in inner):
                home.pages.append(read_document(path, home))
    return home


def findings(pack: Pack) -> list[Finding]:
    """All of them, in the order of files and lines."""
    found: list[tuple[str, Path, Problem]] = []
    for home in pack.homes:
        for docs, rules in ((home.agents, AGENT), (home.skills, SKILL), (home.pages, EVERY)):
            found += [(name, doc.path, one) for doc in docs for name, rule in rules.items() for one in rule(doc)]
        found += [(name, path, one) for name, rule in TOGETHER.items() for path, one in rule(home)]
    for manifests, rules in ((pack.manifests, MANIFEST), (pack.hooks, HOOKS)):
        found += [
            (name, one.path, problem) for one in manifests for name, rule in rules.items() for problem in rule(one)
        ]
    made = [Finding(path.as_posix(), one.line, name, one.message, one.mend) for name, path, one in found]
    return sorted(set(made), key=lambda one: (one.path, one.line, one.rule, one.message))


# ---------------------------------------------------------------------- the command line


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="validate.py", description=(__doc__ or "").partition("\n")[0],
        epilog=f"Exit codes: 0 nothing found, 1 findings, 2 nothing inspected or wrong use. Rules: {', '.join(RULES)}.",
    )  # fmt: skip
    made.add_argument(
        "pack", type=Path, nargs="?", default=Path(), help="plugin, marketplace, .claude or skill (default: .)"
    )
    made.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    for limit in fields(Limits):
        option, unit = f"--{limit.name.replace('_', '-')}", "tokens" if limit.name.endswith("tokens") else "characters"
        made.add_argument(
            option, type=int, default=limit.default, metavar="N", help=f"{unit} at most (default: %(default)s)"
        )
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    limits = Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})
    try:
        import yaml  # noqa: F401
    except ImportError:
        print("validate.py: PyYAML is missing: python -m pip install pyyaml", file=sys.stderr)
        return 2
    try:
        pack = read_pack(options.pack, limits)
        found = findings(pack)
    except (PackError, OSError) as error:
        print(f"validate.py: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"inspected": pack.inspected(), "findings": [asdict(one) for one in found]}, indent=2))
    else:
        print(*found, _summary(pack, len(found)), sep="\n")
    return 1 if found else 0


def _summary(pack: Pack, found: int) -> str:
    counts = [f"{count} {what if count != 1 else what[:-1]}" for what, count in pack.inspected().items()]
    return f"Inspected {', '.join(counts)}: {found or 'no'} finding{'' if found == 1 else 's'}."


if __name__ == "__main__":
    sys.exit(main())
