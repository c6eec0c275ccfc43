"""What goes out: error texts, exception handlers, statuses, redirects."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Function, Module, argument, elements, has_unknown_keywords, is_true, keyword
from ..web import (
    APP,
    HTTP_EXCEPTION,
    RESPONSE,
    VALIDATION_ERROR,
    client_text,
    handled,
    injected,
    is_tested,
    middleware,
    named,
    routes,
)

# Their texts hold SQL with its values, paths, addresses. Texts of other classes may be written for the client.
TELLING = frozenset({
    "builtins.Exception", "builtins.BaseException", "builtins.OSError", "builtins.IOError", "500",
    "sqlalchemy.exc.SQLAlchemyError", "sqlalchemy.exc.DBAPIError", "sqlalchemy.exc.IntegrityError",
    "sqlalchemy.exc.OperationalError", "sqlalchemy.exc.DataError", "sqlalchemy.exc.ProgrammingError",
    "sqlalchemy.exc.StatementError",
})  # fmt: skip
CORS = named("fastapi.middleware.cors starlette.middleware.cors", "CORSMiddleware")
REDIRECT = named("fastapi.responses starlette.responses", "RedirectResponse")
FASTAPI_HTTP_EXCEPTION = named("fastapi fastapi.exceptions", "HTTPException")
STARLETTE_HTTP_EXCEPTION = HTTP_EXCEPTION - FASTAPI_HTTP_EXCEPTION
ENCODER = named("fastapi.encoders", "jsonable_encoder")


@rule(
    "FR401",
    "the text of an unexpected exception goes to the client",
    why="It holds SQL with its values, paths, host names: for an attacker a map, for a user no help.",
    mend="A constant text; log the exception with the request's id.",
)
def exception_text(module: Module) -> Iterator[Hit]:
    for function, name in _caught(module):
        for node in _answers(module, function):
            if isinstance(function, ast.ExceptHandler) and node not in set(ast.walk(function)):
                continue
            if text := _text_of(module, node, name):
                yield Hit(text, f"the text of `{name}` goes to the client")
                break


def _caught(module: Module) -> Iterator[tuple[Function | ast.ExceptHandler, str]]:
    """Handlers of broad exceptions in routes and dependencies, and registered functions, with the exception's name."""
    called = injected(module)
    for handler in module.nodes(ast.ExceptHandler):
        function = module.enclosing(handler)
        if handler.name and function in called:
            if any(module.resolve(one) in TELLING for one in (elements(handler.type) if handler.type else [])):
                yield handler, handler.name
    for _, exception, function in handled(module):
        parameters = module.parameters(function)
        if exception in TELLING and len(parameters) == 2:
            yield function, parameters[1].name


def _answers(module: Module, scope: Function | ast.ExceptHandler) -> Iterator[ast.expr]:
    """What a part of a function answers with: values returned, contents of responses, details of HTTP errors."""
    inside = list(ast.walk(scope))
    for node in inside:
        if isinstance(node, ast.Call) and module.resolve(node.func) in HTTP_EXCEPTION:
            detail = argument(node, 1, "detail")
            if detail is not None:
                yield detail
        elif isinstance(node, ast.Call) and module.is_a(module.resolve(node.func), RESPONSE):
            content = argument(node, 0, "content")
            if content is not None:
                yield content
        elif isinstance(node, ast.Return) and isinstance(node.value, (ast.Dict, ast.JoinedStr)):
            yield node.value


def _text_of(module: Module, node: ast.expr, name: str) -> ast.AST | None:
    """Where a value holds `str(name)`, `repr(name)`, `f"{name}"`, `name.args`, or a traceback."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            called = module.resolve(one.func)
            is_text = called in ("builtins.str", "builtins.repr") and bool(one.args) and _is_name(one.args[0], name)
            if is_text or called == "traceback.format_exc":
                return one
        if isinstance(one, ast.FormattedValue) and _is_name(one.value, name):
            return one
        if isinstance(one, ast.Attribute) and one.attr in ("args", "orig", "statement") and _is_name(one.value, name):
            return one
    return None


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@rule(
    "FR402",
    "the handler of `Exception` answers outside of all middleware",
    why="Its 500 has no CORS header, so a browser hides it, and no request id or security header.",
    mend="A middleware inside CORSMiddleware that catches Exception, logs it and answers.",
    level="warning",
)
def exception_handler(module: Module) -> Iterator[Hit]:
    # `CORSMiddleware(...)` by itself may be how the handler adds the headers.
    has_cors = any(module.resolve(call.func) not in CORS for call in middleware(module, CORS))
    for node, exception, _ in handled(module):
        if exception in ("builtins.Exception", "500") and has_cors:
            yield Hit(node)


@rule(
    "FR403",
    "the validation handler repeats the input",
    why="errors() and body hold what was sent, passwords too; ctx holds exceptions that JSON can't encode: a 500.",
    mend="Build each error anew from loc, type and msg.",
)
def echo_of_input(module: Module) -> Iterator[Hit]:
    for function, name in _validation_handlers(module):
        for node in module.inside(function):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "body"
                and _is_name(node.value, name)
                and _is_answered(module, node)
            ):
                yield Hit(node, f"`{name}.body` goes back to the client")
                break
            if isinstance(node, ast.Call) and _is_errors(node, name) and _is_answered(module, node):
                yield Hit(node, f"`{name}.errors()` goes back to the client with the input")
                break


def _validation_handlers(module: Module) -> Iterator[tuple[Function, str]]:
    found = {}
    for _, exception, function in handled(module):
        if exception in VALIDATION_ERROR and len(module.parameters(function)) == 2:
            found[function] = module.parameters(function)[1].name
    for function in module.functions():
        for one in module.parameters(function):
            if module.type_of(one.annotation) in VALIDATION_ERROR:
                found[function] = one.name
    yield from found.items()


def _is_errors(node: ast.Call, name: str) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr == "errors" and _is_name(node.func.value, name)


def _is_answered(module: Module, node: ast.AST) -> bool:
    """Whether the value itself becomes part of a response, changed by nothing but the encoder."""
    for parent in module.ancestors(node):
        if isinstance(parent, ast.Call):
            name = module.resolve(parent.func)
            if module.is_a(name, RESPONSE):
                return True
            if name not in ENCODER:
                return False
        elif not isinstance(parent, (ast.Dict, ast.List, ast.Tuple, ast.keyword)):
            return False
    return False


@rule(
    "FR404",
    "the handler misses the router's own 404 and 405",
    why="They are starlette.exceptions.HTTPException; the handler takes FastAPI's subclass only.",
    mend="from starlette.exceptions import HTTPException as StarletteHTTPException, and register for that.",
    level="warning",
)
def half_a_handler(module: Module) -> Iterator[Hit]:
    registered = [(node, exception) for node, exception, _ in handled(module)]
    if any(exception in STARLETTE_HTTP_EXCEPTION or exception == "404" for _, exception in registered):
        return
    yield from (Hit(node) for node, exception in registered if exception in FASTAPI_HTTP_EXCEPTION)


@rule(
    "FR405",
    "`HTTPException` is returned, not raised",
    why="The client gets a 200 with the exception's fields, or a 500.",
    mend="raise HTTPException(...)",
)
def returned_exception(module: Module) -> Iterator[Hit]:
    for node in module.nodes(ast.Return):
        if isinstance(node.value, ast.Call) and module.resolve(node.value.func) in HTTP_EXCEPTION:
            if module.enclosing(node) in injected(module):
                yield Hit(node)


@rule(
    "FR406",
    "a status is returned beside the body",
    why="That is Flask: here the client gets a 200 with a list of body and number.",
    mend="raise HTTPException(404, ...), or @router.post(..., status_code=201).",
)
def status_in_tuple(module: Module) -> Iterator[Hit]:
    for route in routes(module):
        for node in module.inside(route.function):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
                body, status = node.value.elts
                number = module.constant(status)
                if isinstance(body, (ast.Dict, ast.Call)) and type(number) is int and 100 <= number < 600:
                    yield Hit(node)


@rule(
    "FR407",
    "a client chooses where it is redirected to",
    why="A link to this service can lead to any site: phishing with a trusted address; //evil.example is one too.",
    mend="Take a path of your own from a fixed list, or compare the host.",
)
def open_redirect(module: Module) -> Iterator[Hit]:
    for route in routes(module):
        free = client_text(module, route.function)
        for node in module.inside(route.function):
            if isinstance(node, ast.Call) and module.resolve(node.func) in REDIRECT:
                target = argument(node, 0, "url")
                name = target.id if isinstance(target, ast.Name) else ""
                if name in free and not is_tested(module, route.function, name):
                    yield Hit(node, f"a client chooses with `{name}` where it is redirected to")


@rule(
    "FR408",
    "`debug=True` shows tracebacks to clients",
    why="A 500 then shows source lines and values.",
    mend="Leave it off.",
)
def debug(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in APP and is_true(keyword(call, "debug")) and not module.is_test:
            if not has_unknown_keywords(call):
                yield Hit(call)
