"""What comes with the service: tests, and a description where one is served."""

from __future__ import annotations

import ast
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
    """Read, not run: test functions that speak of the interface, in files that are Python."""
    found: list[str] = []
    for path in service.workspace.rglob("*.py"):
        if not (path.name.startswith("test_") or path.name.endswith("_test.py")):
            continue
        text = path.read_text(errors="replace")
        try:
            names = [getattr(node, "name", "") for node in ast.walk(ast.parse(text))]
        except SyntaxError as error:
            raise AssertionError(f"{path.name}, line {error.lineno}, is no Python: {error.msg}") from None
        found += [name for name in names if name.startswith("test_")] if "/files" in text else []
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
