"""What comes with the service: health, OpenAPI, tests, migrations."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from api import Json, Sql, expect

OPERATIONS = {
    "/projects": {"get", "post"},
    "/projects/{}": {"get", "patch", "delete"},
    "/projects/{}/tasks": {"post"},
    "/tasks": {"get"},
    "/tasks/{}": {"get", "patch", "delete"},
}
SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages"}
COLUMNS = """
select table_name, column_name from information_schema.columns
where table_schema not in ('pg_catalog', 'information_schema', '_grader')
"""
# Tables in which a tool keeps its own books.
BOOKS = re.compile(r"alembic_version|.*migration.*|aerich|_yoyo.*|yoyo.*|schema_version.*|.*changelog.*")


def written(workspace: Path, *suffixes: str) -> Iterator[tuple[Path, str]]:
    """The files of the workspace with these endings, but for what tools install there."""
    for path in sorted(workspace.rglob("*")):
        below = path.relative_to(workspace)
        if path.suffix in suffixes and path.is_file() and not SKIPPED & set(below.parts):
            yield below, path.read_text(encoding="utf-8", errors="replace")


def migrations(workspace: Path) -> str:
    """The text of all migrations: alembic's, another tool's, or numbered SQL files."""
    texts = []
    for path, text in written(workspace, ".py", ".sql"):
        placed = re.search(r"migration|alembic|versions|revision", str(path.parent), re.IGNORECASE)
        changes = path.suffix == ".sql" or re.search(r"def (upgrade|up|migrate|forwards|apply)\b|\bstep\(", text)
        if placed and changes and path.name != "env.py":
            texts.append(text)
    return "\n".join(texts)


def test_health_stays(client: httpx.Client) -> None:
    answer = expect(client.get("/health"), 200)
    assert answer.json().get("status") == "ok", answer.text


def test_the_openapi_document_lists_every_operation(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    if answer.status_code in (401, 403, 404):
        return  # a service may keep its documentation to itself
    expect(answer, 200)
    paths: Json = answer.json()["paths"]
    listed = {re.sub(r"\{[^}]*\}", "{}", path).rstrip("/"): set(operations) for path, operations in paths.items()}
    missing = [
        f"{verb} {path}" for path, verbs in OPERATIONS.items() for verb in sorted(verbs - listed.get(path, set()))
    ]
    assert not missing, f"the OpenAPI document leaves out {missing}"


def test_tests_are_included(service: Any) -> None:
    """At least five, of both resources, in files that Python can read."""
    texts = [
        text
        for path, text in written(service.workspace, ".py")
        if re.search(r"(^|/)(test_\w+|\w+_test|conftest)\.py$", str(path))
    ]
    count = 0
    for text in texts:
        try:
            nodes = list(ast.walk(ast.parse(text)))
        except SyntaxError as error:
            raise AssertionError(f"a file of tests can't be read: {error}") from None
        functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        count += sum(name.startswith("test") for name in functions)
    assert count >= 5, f"{count} test functions in {len(texts)} files of tests"
    for name in ("projects", "tasks"):
        assert any(name in text for text in texts), f"no test speaks of {name}"


def test_migrations_make_the_schema(service: Any, sql: Sql) -> None:
    text = migrations(service.workspace)
    assert text, "no migration: no file with an upgrade in a folder of migrations"
    columns = [(table, column) for table, column in sql(COLUMNS) if not BOOKS.fullmatch(table)]
    assert columns, "the database holds no table"
    if "create_all" in text:
        return
    missing = [f"{table}.{column}" for table, column in columns if not re.search(rf"\b{column}\b", text)]
    assert not missing, f"the migrations do not make {missing}, which the database has"
