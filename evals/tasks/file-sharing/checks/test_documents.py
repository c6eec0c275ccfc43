"""What comes with the service: tests, and a description where one is served."""

from __future__ import annotations

import re
from typing import Any

import httpx
from answers import survived

METHODS = {
    "/files": {"get", "post"},
    "/files/{}": {"get", "patch", "delete"},
    "/files/{}/content": {"get"},
    "/files/{}/share": {"post"},
}


def test_includes_tests(service: Any) -> None:
    """Read, not run: test functions that speak of the interface."""
    found = []
    for path in service.workspace.rglob("*.py"):
        if path.name.startswith("test_") or path.name.endswith("_test.py"):
            text = path.read_text(errors="replace")
            tests = [str(name) for name in re.findall(r"^\s*(?:async\s+)?def (test_\w+)", text, re.MULTILINE)]
            found += tests if "/files" in text else []
    assert len(found) >= 3, f"{len(found)} test functions that speak of /files: {found}"


def test_describes_what_it_serves(stranger: httpx.Client) -> None:
    """A service may keep its description to itself; one that it shows has to be right."""
    answer = survived(stranger.get("/openapi.json"))
    if answer.status_code != 200:
        return
    described: dict[str, set[str]] = {}
    for path, methods in answer.json()["paths"].items():
        plain = "/".join("{}" if part.startswith("{") else part for part in path.rstrip("/").split("/"))
        described.setdefault(plain, set()).update(methods)
    missing = {path: methods - described.get(path, set()) for path, methods in METHODS.items()}
    missing = {path: methods for path, methods in missing.items() if methods}
    assert not missing, f"/openapi.json leaves out {missing}"
