"""Runs in a process of its own, under the service's Python: imports an app and writes down its routes as JSON.

Called as `python inspect_app.py MODULE:APP RESULT`; the file RESULT gets `{"routes": [...]}` or `{"error": "..."}`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef

# Dependencies that tell who calls, but are no security scheme of FastAPI: known by their names.
ASKS_WHO = re.compile(
    r"auth|current_?(user|caller|account|admin)|principal|permission|api_?key|token|login|signature|credential|identity"
    r"|require_?(user|role|scope|admin)|session_?user|get_(user|caller|admin)|csrf",
    re.IGNORECASE,
)
# Where there is nobody yet to ask, and what probes call.
PUBLIC = re.compile(
    r"(^|/)(log-?in|log-?out|token|refresh|register|sign-?up|sign-?in|forgot-password|reset-password|verify(-email)?"
    r"|livez|readyz|healthz?|health-?check|ping|ready|live|alive|startup|metrics|status|version|robots\.txt|favicon\.ico)/?$",
    re.IGNORECASE,
)


def main(target: str, result: str) -> None:
    try:
        found: dict[str, Any] = {"routes": [*described(load(target))]}
    except BaseException as error:
        found = {"error": f"{type(error).__name__}: {error}".strip()}
    with open(result, "w", encoding="utf-8") as out:
        json.dump(found, out)


def load(target: str) -> Any:
    """The app that `module:app` or `module:create_app()` names."""
    from fastapi import FastAPI

    module, _, name = target.partition(":")
    factory = name.endswith("()")
    value: Any = importlib.import_module(module)
    for part in name.removesuffix("()").split("."):
        value = getattr(value, part)
    if factory:
        value = value()
    if not isinstance(value, FastAPI):
        hint = "; for a factory write it with () at the end" if callable(value) and not factory else ""
        raise TypeError(f"{target} is a {type(value).__name__}, not a FastAPI app{hint}")
    return value


def described(app: Any) -> Iterator[dict[str, Any]]:
    """Each route in the order in which requests meet it."""
    from fastapi import routing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        documented = app.openapi()["paths"] if app.openapi_url else {}
    walk = getattr(routing, "iter_route_contexts", iter)
    for route in walk(app.routes):
        endpoint = getattr(route, "endpoint", None)
        path = getattr(route, "path", None)
        if path is None:
            continue
        original = getattr(route, "original_route", route)
        is_api = isinstance(original, (routing.APIRoute, routing.APIWebSocketRoute))
        methods = sorted(getattr(route, "methods", None) or ())
        operations = documented.get(getattr(route, "path_format", path), {})
        described = [operations[one.lower()] for one in methods if one.lower() in operations]
        file, line = place(endpoint)
        source = tree(endpoint)
        yield {
            "path": path,
            "methods": methods,
            "name": getattr(endpoint, "__qualname__", getattr(original, "name", "") or ""),
            "file": file,
            "line": line,
            "api": is_api,
            "websocket": isinstance(original, routing.APIWebSocketRoute),
            "regex": pattern(route),
            "sample": sample(path),
            "public": bool(PUBLIC.search(path)),
            "protected": is_api and asks_who(route.dependant),
            "guarded": any("auth" in str(getattr(one, "cls", "")).lower() for one in app.user_middleware),
            "schemes": any("security" in one for one in described),
            "untyped": is_untyped(original, source) if is_api and described else False,
            "operation_ids": [one["operationId"] for one in described if "operationId" in one],
            "documented": sorted({status.upper() for one in described for status in one.get("responses", {})}),
            "raised": sorted(raised(source)) if described else [],
        }


def pattern(route: Any) -> str | None:
    regex = getattr(route, "path_regex", None)
    return regex.pattern if regex is not None else None


def sample(path: str) -> str:
    """A path that the route takes: each parameter gets a value that its converter allows and no fixed path has."""
    values = {"int": "7", "float": "7.5", "path": "~/~", "uuid": "00000000-0000-4000-8000-000000000000"}
    return re.sub(r"\{\w+(?::(\w+))?\}", lambda found: values.get(found[1] or "", "~"), path)


def asks_who(dependant: Any) -> bool:
    from fastapi.security.base import SecurityBase

    waiting = [dependant]
    while waiting:
        one = waiting.pop()
        waiting.extend(one.dependencies)
        if getattr(one, "security_requirements", None) or isinstance(one.call, SecurityBase):
            return True
        name = getattr(one.call, "__qualname__", type(one.call).__qualname__)
        if one is not dependant and ASKS_WHO.search(name):
            return True
        headers = [*one.header_params, *one.cookie_params]
        if any(ASKS_WHO.search(getattr(field, "alias", "") or "") for field in headers):
            return True
    return False


def place(endpoint: Any) -> tuple[str | None, int]:
    """The file and the line of `def` or its first decorator."""
    function = inspect.unwrap(endpoint) if callable(endpoint) else None
    code = getattr(function, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else (None, 1)


def tree(endpoint: Any) -> Function | None:
    try:
        found = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(endpoint)))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    return found if isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def is_untyped(original: Any, source: Function | None) -> bool:
    """No response model, although a JSON body goes out and nobody said that there is none on purpose."""
    from fastapi.responses import JSONResponse

    if original.response_model is not None or getattr(original, "stream_item_type", None) is not None or source is None:
        return False
    default = getattr(original.response_class, "value", original.response_class)
    if not (isinstance(default, type) and issubclass(default, JSONResponse)) or original.status_code in (204, 205, 304):
        return False
    given = {key.arg for one in source.decorator_list if isinstance(one, ast.Call) for key in one.keywords}
    if "response_model" in given or source.returns is not None:
        return False
    returns = [one.value for one in ast.walk(source) if isinstance(one, ast.Return) and one.value is not None]
    return any(not is_response(one) for one in returns)


def is_response(node: ast.expr) -> bool:
    name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return name.endswith("Response") or (isinstance(node, ast.Constant) and node.value is None)


def raised(source: Function | None) -> Iterator[int]:
    """Statuses of the HTTPExceptions that the function itself raises."""
    for node in ast.walk(source) if source else ():
        call = node.exc if isinstance(node, ast.Raise) else None
        if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("HTTPException"):
            continue
        given = next(
            (one.value for one in call.keywords if one.arg == "status_code"), call.args[0] if call.args else None
        )
        if isinstance(given, ast.Constant) and isinstance(given.value, int):
            yield given.value
        elif given is not None and (found := re.search(r"HTTP_(\d{3})_", ast.unparse(given))):
            yield int(found[1])


if __name__ == "__main__":
    # The folder of this file is no place to import from.
    sys.path[0] = sys.argv[3]
    main(sys.argv[1], sys.argv[2])
