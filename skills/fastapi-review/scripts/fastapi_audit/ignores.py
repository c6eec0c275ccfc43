"""`# audit: ignore[FR101] reason`: what a comment silences, and what is wrong with it."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Collection
from dataclasses import dataclass

COMMENT = re.compile(r"#\s*audit:\s*ignore(?P<rules>\[[^\]]*\])?(?P<reason>.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Ignore:
    """Applies to its line, and to the next one when nothing else stands on it."""

    line: int
    rules: frozenset[str]
    alone: bool
    problem: str = ""

    def covers(self, rule: str, first: int, last: int) -> bool:
        lines = {first, last} | ({first - 1} if self.alone else set())
        return not self.problem and rule in self.rules and self.line in lines


def ignores(text: str, known: Collection[str]) -> list[Ignore]:
    """The comments of a file. One without rules, with an unknown rule or without a reason silences nothing."""
    if "audit:" not in text:
        return []
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and (match := COMMENT.match(token.string)):
                alone = not token.line[: token.start[1]].strip()
                found.append(_parsed(match, token.start[0], alone, known))
    except (tokenize.TokenError, SyntaxError):
        return found
    return found


def _parsed(match: re.Match[str], line: int, alone: bool, known: Collection[str]) -> Ignore:
    rules = frozenset(part.strip().upper() for part in (match["rules"] or "[]")[1:-1].split(",") if part.strip())
    unknown = sorted(rules - set(known))
    problem = ""
    if not rules:
        problem = "the comment names no rule: # audit: ignore[FR101] reason"
    elif unknown:
        problem = f"the comment names {', '.join(unknown)}, which is no rule"
    elif not match["reason"].strip(" :-"):
        problem = "the comment gives no reason: # audit: ignore[FR101] reason"
    return Ignore(line, rules, alone, problem)
