"""What the rules share about FastAPI: routes, dependencies, what a client sends, and families of names."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from typing import TypeVar

from .source import FUNCTIONS, Function, Module, Parameter, argument, elements, is_true, keyword


@cache
def named(packages: str, *names: str) -> frozenset[str]:
    """Dotted names of things that several places of a package export: `named("fastapi starlette", "Request")`."""
    return frozenset(f"{package}.{name}" for package in packages.split() for name in names)


APP = frozenset({"fastapi.FastAPI", "fastapi.applications.FastAPI"})
ROUTER = frozenset({"fastapi.APIRouter", "fastapi.routing.APIRouter"})
DEPENDS = named("fastapi fastapi.param_functions", "Depends", "Security")
PARAMETER_MARKS = named(
    "fastapi fastapi.param_functions fastapi.params", "Query", "Path", "Body", "Header", "Cookie", "Form", "File"
)
REQUEST = named("fastapi fastapi.requests starlette.requests", "Request", "HTTPConnection")
RESPONSE = named(
    "fastapi fastapi.responses starlette.responses", "Response", "JSONResponse", "HTMLResponse", "PlainTextResponse",
    "RedirectResponse", "StreamingResponse", "FileResponse", "ORJSONResponse", "UJSONResponse",
)  # fmt: skip
HTTP_EXCEPTION = named("fastapi fastapi.exceptions starlette.exceptions", "HTTPException") | {
    "fastapi.exceptions.StarletteHTTPException"
}
VALIDATION_ERROR = named("fastapi.exceptions", "RequestValidationError")
UPLOAD = named("fastapi fastapi.datastructures starlette.datastructures", "UploadFile")
BACKGROUND = named("fastapi fastapi.background starlette.background", "BackgroundTasks")
MODEL = named("pydantic pydantic.main", "BaseModel") | {"pydantic_settings.BaseSettings", "sqlmodel.SQLModel"}
SETTINGS = named("pydantic_settings pydantic_settings.main", "BaseSettings")
ASYNC_SESSION = named(
    "sqlalchemy.ext.asyncio sqlalchemy.ext.asyncio.session sqlmodel.ext.asyncio.session", "AsyncSession"
)
SYNC_SESSION = named("sqlalchemy.orm sqlalchemy.orm.session sqlmodel", "Session")
METHODS = frozenset({"get", "post", "put", "patch", "delete", "options", "head", "trace", "api_route"})
# Functions that by their name refuse what they don't like.
CHECKS = re.compile(
    r"check|valid|verify|assert|ensure|require|guard|allow|safe|sanit|clean|reject|resolve", re.IGNORECASE
)
TEXT_TYPES = frozenset({"builtins.str", "pydantic.HttpUrl", "pydantic.AnyUrl", "pydantic.AnyHttpUrl"})


Fact = TypeVar("Fact")


def once(find: Callable[[Module], Fact]) -> Callable[[Module], Fact]:
    """Work a fact about a module out once, as many rules ask for it."""

    @wraps(find)
    def known(module: Module) -> Fact:
        if find.__name__ not in module.facts:
            module.facts[find.__name__] = find(module)
        fact: Fact = module.facts[find.__name__]
        return fact

    return known


@dataclass(frozen=True)
class Route:
    function: Function
    call: ast.Call
    method: str

    @property
    def path(self) -> str:
        given = argument(self.call, 0, "path")
        return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else ""


def is_app(module: Module, node: ast.AST) -> bool:
    return module.is_a(module.made_by(node), APP)


def is_router(module: Module, node: ast.AST) -> bool:
    return module.is_a(module.made_by(node), APP | ROUTER)


@once
def routes(module: Module) -> list[Route]:
    """Functions that a decorator of an app or router makes a path operation."""
    found = []
    for function in module.functions():
        for decorator in function.decorator_list:
            if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
                continue
            if decorator.func.attr in METHODS and is_router(module, decorator.func.value):
                found.append(Route(function, decorator, decorator.func.attr))
    return found


@once
def depends(module: Module) -> list[ast.Call]:
    """Every `Depends(...)` and `Security(...)`."""
    return [call for call in module.calls() if module.resolve(call.func) in DEPENDS]


def dependency(module: Module, call: ast.Call) -> tuple[Module, Function] | None:
    """The function of the project that a `Depends(...)` names."""
    given = argument(call, 0, "dependency")
    if not isinstance(given, (ast.Name, ast.Attribute)):
        return None
    name = module.resolve(given)
    if isinstance(given, ast.Name):
        found = module.find(given.id, given)
        if len(found) == 1 and isinstance(found[0].node, FUNCTIONS):
            return module, found[0].node
    defined = module.definition(name)
    if defined and isinstance(defined.node, FUNCTIONS):
        return defined.module, defined.node
    return None


@once
def injected(module: Module) -> set[Function]:
    """Functions of this module that FastAPI calls: routes, and dependencies that this module names."""
    found: set[Function] = {route.function for route in routes(module)}
    for call in depends(module):
        if (target := dependency(module, call)) and target[0] is module:
            found.add(target[1])
    return found | {one for one in module.functions() if any(mark_of(module, two) for two in module.parameters(one))}


def mark_of(module: Module, parameter: Parameter, wanted: frozenset[str] = DEPENDS) -> ast.Call | None:
    """The `Depends(...)`, or another mark, in a parameter's default or in its `Annotated`, behind an alias too."""
    owner, annotation = module, parameter.annotation
    if isinstance(parameter.default, ast.Call) and module.resolve(parameter.default.func) in wanted:
        return parameter.default
    if isinstance(annotation, (ast.Name, ast.Attribute)):
        defined = module.definition(module.resolve(annotation))
        if defined and isinstance(value := getattr(defined.node, "value", None), ast.expr):
            owner, annotation = defined.module, value
    if isinstance(annotation, ast.Subscript) and owner.resolve(annotation.value).endswith(".Annotated"):
        for mark in elements(annotation.slice)[1:]:
            if isinstance(mark, ast.Call) and owner.resolve(mark.func) in wanted:
                return mark
    return None


def client_text(module: Module, function: Function) -> set[str]:
    """Parameters of a route that hold text which the client chose freely."""
    found = set()
    for one in module.parameters(function):
        if module.type_of(one.annotation) not in TEXT_TYPES or mark_of(module, one):
            continue
        mark = mark_of(module, one, PARAMETER_MARKS)
        if mark is None or not (keyword(mark, "pattern") or keyword(mark, "regex") or keyword(mark, "enum")):
            found.add(one.name)
    return found


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def is_tested(module: Module, function: ast.AST, name: str) -> bool:
    """Whether a function looks at a value before it uses it: in a condition, a comparison, a function that checks."""
    for node in module.inside(function):
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)) and name in names_in(node.test):
            return True
        if isinstance(node, ast.Compare) and name in names_in(node):
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return True
        if isinstance(node, ast.Match) and name in names_in(node.subject):
            return True
        if isinstance(node, ast.Call) and CHECKS.search(ast.unparse(node.func)) and name in names_in(node):
            return True
    return False


@once
def handled(module: Module) -> list[tuple[ast.AST, str, Function]]:
    """Exception handlers that are registered: where, for which class, the function."""
    found: list[tuple[ast.AST, str, Function]] = []
    for function in module.functions():
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and _is_handler_call(module, decorator.func, "exception_handler"):
                given = argument(decorator, 0, "exc_class_or_status_code")
                found.append((decorator, _exception(module, given), function))
    for call in module.calls():
        target, handler = None, None
        if _is_handler_call(module, call.func, "add_exception_handler"):
            target, handler = argument(call, 0, "exc_class_or_status_code"), argument(call, 1, "handler")
        elif isinstance(call.func, ast.Call) and _is_handler_call(module, call.func.func, "exception_handler"):
            target, handler = argument(call.func, 0, "exc_class_or_status_code"), argument(call, 0, "func")
        if isinstance(handler, ast.Name):
            functions = [one.node for one in module.find(handler.id, handler) if isinstance(one.node, FUNCTIONS)]
            found.extend((call, _exception(module, target), one) for one in functions)
    return found


def _is_handler_call(module: Module, func: ast.expr, name: str) -> bool:
    return isinstance(func, ast.Attribute) and func.attr == name and is_app(module, func.value)


def _exception(module: Module, node: ast.expr | None) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else module.resolve(node)


def middleware(module: Module, wanted: frozenset[str]) -> Iterator[ast.Call]:
    """Calls that put one of these classes around an app, with the keywords that it gets."""
    for call in module.calls():
        if module.resolve(call.func) in wanted:
            yield call
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "add_middleware":
            if module.resolve(argument(call, 0, "middleware_class")) in wanted:
                yield call
        elif module.resolve(call.func) in named("starlette.middleware fastapi.middleware", "Middleware"):
            if module.resolve(argument(call, 0, "cls")) in wanted:
                yield call


def is_given_true(call: ast.Call, name: str) -> bool:
    return is_true(keyword(call, name))
