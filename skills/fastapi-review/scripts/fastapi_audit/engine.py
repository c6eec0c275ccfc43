"""Runs the rules over files and hands back findings."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from .ignores import Ignore, ignores
from .model import Finding, Rule, Version
from .project import Broken, Project, declared_versions
from .rules import ALL
from .source import Module

UNREADABLE = Rule(
    "FR001",
    "the file is not Python",
    why="What can't be parsed can't be imported, nor reviewed.",
    mend="Mend the syntax; if it is of a newer Python, run the audit with that.",
)
BAD_IGNORE = Rule(
    "FR002",
    "an ignore comment is not valid",
    why="It silences nothing: a rule and a reason are needed, so that the next reader can judge it.",
    mend="# audit: ignore[FR101] reason",
)
RULES: dict[str, Rule] = {UNREADABLE.id: UNREADABLE, BAD_IGNORE.id: BAD_IGNORE, **ALL}


def audit(
    paths: Iterable[Path], selected: Collection[str], installed: Mapping[str, Version] | None = None
) -> list[Finding]:
    """The findings of these files under the selected rules, sorted. Each rule sees the whole project.

    `installed` overrides what the project's lock files and pins say about versions.
    """
    # Syntax trees are many objects without cycles worth collecting: the collector would take half of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _audited(paths, selected, installed or {})
    finally:
        if collecting:
            gc.enable()


def _audited(paths: Iterable[Path], selected: Collection[str], installed: Mapping[str, Version]) -> list[Finding]:
    project = Project()
    rules = [one for one in RULES.values() if one.id in selected and one.check]
    findings = [_unreadable(broken) for broken in project.add(paths) if UNREADABLE.id in selected]
    for module in project.audited:
        versions = {**declared_versions(module.path.parent), **installed}
        fitting = [one for one in rules if one.applies(versions)]
        findings += _of_module(module, fitting, BAD_IGNORE.id in selected)
    return sorted(set(findings))


def _of_module(module: Module, rules: list[Rule], with_bad_ignores: bool) -> list[Finding]:
    comments = ignores(module.text, RULES)
    found = [_bad_ignore(module.path, one) for one in comments if one.problem and with_bad_ignores]
    for rule in rules:
        for hit in rule.check(module) if rule.check else ():
            first, last = lines_of(hit.node)
            if not any(one.covers(rule.id, first, last) for one in comments):
                column = getattr(hit.node, "col_offset", 0) + 1
                found.append(Finding(module.path, first, column, rule.id, hit.said or rule.title))
    return found


def lines_of(node: ast.AST) -> tuple[int, int]:
    first: int = getattr(node, "lineno", 1)
    last: int = (
        first
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        else getattr(node, "end_lineno", first)
    )
    return first, last


def _unreadable(broken: Broken) -> Finding:
    running = ".".join(map(str, sys.version_info[:2]))
    return Finding(broken.path, broken.line, broken.column, UNREADABLE.id, f"not Python {running}: {broken.reason}")


def _bad_ignore(path: Path, comment: Ignore) -> Finding:
    return Finding(path, comment.line, 1, BAD_IGNORE.id, comment.problem)
