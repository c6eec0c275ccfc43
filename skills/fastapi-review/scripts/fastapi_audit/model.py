"""The nouns: a rule, where it hit, and what is reported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .source import Module

Level = Literal["error", "warning"]
Version = tuple[int, ...]


@dataclass(frozen=True)
class Hit:
    """A place that breaks a rule. `said` replaces the rule's title where something more exact can be told."""

    node: ast.AST
    said: str = ""


Check = Callable[["Module"], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """One fault. `since` names a package's first version that has it. Rules about the running app have no check."""

    id: str
    title: str
    why: str
    mend: str
    level: Level = "error"
    since: Mapping[str, Version] = field(default_factory=dict)
    check: Check | None = None

    def applies(self, versions: Mapping[str, Version]) -> bool:
        """Whether a project with these packages can have the fault; an unknown version is taken for the newest."""
        return all(versions.get(package, first) >= first for package, first in self.since.items())


@dataclass(frozen=True, order=True)
class Finding:
    """What is reported. Lines and columns count from 1."""

    path: Path
    line: int
    column: int
    rule: str
    message: str


class AuditError(Exception):
    """Wrong use: the message names what is wrong and how to mend it."""


def rule(
    id: str,  # noqa: A002
    title: str,
    *,
    why: str,
    mend: str,
    level: Level = "error",
    since: Mapping[str, Version] | None = None,
) -> Callable[[Check], Rule]:
    """Make a rule of the function that looks for its fault."""
    return lambda check: Rule(id, title, why, mend, level, since or {}, check)
