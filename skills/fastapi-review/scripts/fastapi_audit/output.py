"""Findings as text, JSON or SARIF 2.1.0."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .engine import RULES
from .model import Finding, Rule

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(findings: list[Finding]) -> str:
    """One line each, in the form that editors and agents jump to."""
    return "".join(
        f"{shown(one.path)}:{one.line}:{one.column}: {one.rule} {one.message}. Mend: {RULES[one.rule].mend}\n"
        for one in findings
    )


def as_json(findings: list[Finding]) -> str:
    """A list of objects: path, line, column, rule, level, message, why, mend."""
    rows = [
        {
            "path": shown(one.path),
            "line": one.line,
            "column": one.column,
            "rule": one.rule,
            "level": RULES[one.rule].level,
            "message": one.message,
            "why": RULES[one.rule].why,
            "mend": RULES[one.rule].mend,
        }
        for one in findings
    ]
    return json.dumps(rows, indent=2) + "\n"


def as_sarif(findings: list[Finding]) -> str:
    """A log with one run; code hosts show it beside the lines."""
    order = list(RULES)
    driver = {"name": "fastapi-audit", "rules": [_sarif_rule(rule) for rule in RULES.values()]}
    results = [_sarif_result(one, order.index(one.rule)) for one in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": rule.level},
    }


def _sarif_result(one: Finding, index: int) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": quote(Path(shown(one.path)).as_posix())},
        "region": {"startLine": one.line, "startColumn": one.column},
    }
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": RULES[one.rule].level,
        "message": {"text": f"{one.message}. {RULES[one.rule].mend}"},
        "locations": [{"physicalLocation": place}],
    }


def explained(rule: Rule) -> str:
    packages = ", ".join(f"{name} {'.'.join(map(str, first))}" for name, first in rule.since.items())
    since = f"\nSince: {packages}" if packages else ""
    return f"{rule.id} ({rule.level}): {rule.title}\nWhy:   {rule.why}\nMend:  {rule.mend}{since}\n"


def shown(path: Path) -> str:
    """Relative to the working folder where it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


FORMATS = {"text": as_text, "json": as_json, "sarif": as_sarif}
