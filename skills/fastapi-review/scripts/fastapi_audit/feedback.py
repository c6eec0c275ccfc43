"""What the hook says about one file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .engine import RULES, UNREADABLE, audit
from .project import requires_python, uses_fastapi

SHOWN = 10
IMPORTS = re.compile(r"^\s*(?:from|import)\s+fastapi\b", re.MULTILINE)


def feedback(name: str) -> str:
    """A short message to the model; empty when the file is clean, or is none of a FastAPI project."""
    path = Path(name).resolve()
    if not IMPORTS.search(path.read_text(encoding="utf-8", errors="replace")) and not uses_fastapi(path.parent):
        return ""
    findings = audit([path], RULES)
    if any(one.rule == UNREADABLE.id for one in findings) and requires_python(path.parent) > sys.version_info[:2]:
        return ""  # it may be the syntax of a newer Python than this one
    lines = [f"{path.name}:{one.line}: {one.rule} {one.message}. {RULES[one.rule].mend}" for one in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(f"... and {len(findings) - SHOWN} more")
    if not lines:
        return ""
    head = "The FastAPI audit of the file just written found:"
    tail = "Mend them, or silence one that is meant: # audit: ignore[RULE] reason"
    return "\n".join([head, *lines, tail])
