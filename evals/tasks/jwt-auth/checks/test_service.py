"""The service as a whole."""

import ast
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from accounts import Session

OPERATIONS = {
    "/auth/register": {"post"},
    "/auth/login": {"post"},
    "/auth/refresh": {"post"},
    "/auth/logout": {"post"},
    "/users/me": {"get", "patch"},
    "/users": {"get"},
    "/healthz": {"get"},
}
FEWEST_TESTS = 3


def test_healthz_is_ok(client: httpx.Client) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"status": "ok"}, answer.text


def test_cors_is_not_open_with_credentials(client: httpx.Client, alice: Session) -> None:
    origin = f"https://{secrets.token_hex(6)}.example"
    preflight = {"origin": origin, "access-control-request-method": "GET"}
    for what, answer in (
        ("GET", client.get("/users/me", headers=alice.headers | {"origin": origin})),
        ("preflight", client.options("/users/me", headers=preflight)),
    ):
        allowed = answer.headers.get("access-control-allow-origin", "")
        credentials = answer.headers.get("access-control-allow-credentials", "").lower() == "true"
        assert not (credentials and allowed in (origin, "*")), (
            f"{what}: any site may use a user's credentials ({allowed})"
        )


def test_openapi_describes_the_interface(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code < 500, answer.text[:500]
    if answer.status_code != 200:
        return
    paths = {path.rstrip("/") or "/": set(methods) for path, methods in answer.json()["paths"].items()}
    for path, methods in OPERATIONS.items():
        assert methods <= paths.get(path, set()), f"{path} has {paths.get(path)}, not {methods}"
    assert any(path.startswith("/users/{") and "delete" in methods for path, methods in paths.items()), paths


def test_openapi_marks_what_needs_a_token(client: httpx.Client) -> None:
    answer = client.get("/openapi.json")
    if answer.status_code != 200:
        return
    schema = answer.json()
    everywhere = bool(schema.get("security"))
    for path, method in (("/users/me", "get"), ("/users/me", "patch"), ("/users", "get")):
        operation = schema["paths"].get(path, schema["paths"].get(f"{path}/", {})).get(method, {})
        assert everywhere or operation.get("security"), (
            f"{method.upper()} {path} needs a token, its description doesn't say so"
        )


# ---------------------------------------------------------------- the tests of the answer
def skipped(node: ast.AST) -> bool:
    """Marked with skip, or a module that skips itself."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr in ("skip", "xfail"))
        or (isinstance(part, ast.Name) and part.id == "skip")
        for part in ast.walk(node)
    )


def asserting(test: ast.AST) -> bool:
    """It asserts, expects an exception, or calls a helper that may (assert_..., expect_..., check_...)."""
    for part in ast.walk(test):
        if isinstance(part, ast.Assert):
            return not (isinstance(part.test, ast.Constant))
        if isinstance(part, ast.Call):
            name = getattr(part.func, "attr", getattr(part.func, "id", ""))
            if name.lower().startswith(("assert", "expect", "check", "raises", "verify")):
                return True
    return False


def cases_in(file: Path) -> Iterator[ast.AST]:
    try:
        module = ast.parse(file.read_text(errors="replace"))
    except SyntaxError:
        return
    if any(
        skipped(node)
        for node in module.body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ):
        return
    for node in ast.walk(module):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test"):
            continue
        if not any(skipped(decorator) for decorator in node.decorator_list) and asserting(node):
            yield node


def test_tests_are_included(service: Any) -> None:
    files = [
        path
        for pattern in ("test_*.py", "*_test.py", "tests.py")
        for path in service.workspace.rglob(pattern)
        if not any(
            part.startswith(".") or part == "site-packages" for part in path.relative_to(service.workspace).parts
        )
    ]
    tests = [test for file in files for test in cases_in(file)]
    assert len(tests) >= FEWEST_TESTS, f"{len(tests)} tests that assert something in {[file.name for file in files]}"
    text = "".join(
        file.read_text(errors="replace") for folder in {file.parent for file in files} for file in folder.glob("*.py")
    )
    for word in ("login", "refresh", "register"):
        assert word in text, f"no test knows of {word}"
