"""The table: what changed in which version, and how code that is touched by it looks.

A rule speaks only where the installed version is on the wrong side of `since`: what is gone, warns or behaves otherwise
matters from that version on, and what came with it (`needs`) matters before it.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .code import MODEL, Code, Function, Seen, is_model, walk
from .installed import Installed, number

Kind = Literal["breaks", "changed", "warns", "needs"]
Test = Callable[[Seen], bool]


@dataclass(frozen=True)
class Rule:
    """`also` names a further condition on what is installed: package -> "" (not at all) or "<version"."""

    name: str
    package: str
    since: str
    kind: Kind
    says: str
    mend: str
    test: Test
    also: tuple[str, str] | None = None

    def applies(self, installed: Installed) -> bool:
        version = installed.number(self.package)
        if version is None or not self._also(installed):
            return False
        is_newer = version >= number(self.since)
        return not is_newer if self.kind == "needs" else is_newer

    def _also(self, installed: Installed) -> bool:
        if self.also is None:
            return True
        version = installed.number(self.also[0])
        if not self.also[1]:
            return version is None
        return version is not None and version < number(self.also[1].lstrip("<"))


@dataclass(frozen=True)
class Difference:
    rule: Rule
    places: tuple[str, ...]  # path:line


def differences(code: Code, installed: Installed) -> list[Difference]:
    """What the code uses and the installed versions don't have or do otherwise; the worst first."""
    rules = [rule for rule in RULES if rule.applies(installed)]
    places: dict[str, dict[str, None]] = {}
    for module in code.modules:
        for seen in walk(module, code):
            line = getattr(seen.node, "lineno", 0)
            for rule in rules if line else ():
                if rule.test(seen) and not module.is_ignored(line, rule.name):
                    places.setdefault(rule.name, {})[f"{module.path}:{line}"] = None
    found = [Difference(rule, tuple(places[rule.name])) for rule in rules if rule.name in places]
    order: Mapping[Kind, int] = {"breaks": 0, "needs": 1, "changed": 2, "warns": 3}
    return sorted(found, key=lambda each: order[each.rule.kind])


# ---------------------------------------------------------------------- tests that rules are made of


def uses(*names: str) -> Test:
    """An import of one of these names, or an attribute of an imported module; a name that ends in * is a start."""
    exact = {name for name in names if not name.endswith("*")}
    starts = tuple(name[:-1] for name in names if name.endswith("*"))

    def is_one(name: str) -> bool:
        return name in exact or (bool(starts) and name.startswith(starts))

    def test(seen: Seen) -> bool:
        if isinstance(seen.node, ast.ImportFrom) and seen.node.level == 0:
            module = seen.node.module or ""
            return is_one(module) or any(is_one(f"{module}.{alias.name}") for alias in seen.node.names)
        if isinstance(seen.node, ast.Import):
            return any(is_one(alias.name) for alias in seen.node.names)
        return isinstance(seen.node, ast.Attribute) and is_one(seen.name(seen.node))

    return test


def calls(*names: str, keyword: str = "", but: str = "", when: Callable[[ast.Call], bool] | None = None) -> Test:
    """A call, with one of the keywords (`a|b`) if any are given, and without those of `but`."""
    wanted, unwanted = set(keyword.split("|")) - {""}, set(but.split("|")) - {""}

    def test(seen: Seen) -> bool:
        node = seen.node
        if not isinstance(node, ast.Call) or seen.name(node.func) not in names:
            return False
        given = {word.arg for word in node.keywords}
        return (not wanted or bool(wanted & given)) and not unwanted & given and (when is None or when(node))

    return test


def any_of(*tests: Test) -> Test:
    return lambda seen: any(test(seen) for test in tests)


def methods(owner: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{owner}().{name}" for name in names)


def first_is_text(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)


def first_is_list(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.List)


def keyword_value(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def decorates(*names: str, but: str = "") -> Test:
    """The decorator, bare or called."""
    called = calls(*names, but=but)

    def test(seen: Seen) -> bool:
        if not isinstance(seen.node, Function):
            return False
        return any(
            called(Seen(each, seen.variables, seen.module, seen.code)) or seen.name(each) in names
            for each in seen.node.decorator_list
        )

    return test


# ---------------------------------------------------------------------- the uncommon ones


def has_config_class(seen: Seen) -> bool:
    node = seen.node
    return (
        isinstance(node, ast.ClassDef)
        and any(is_model(base, seen.module, seen.code) for base in node.bases)
        and any(isinstance(each, ast.ClassDef) and each.name == "Config" for each in node.body)
    )


DRIVERS = {"asyncpg", "psycopg", "psycopg2", "aiopg"}


def is_url(scheme: str) -> Test:
    """A URL of the scheme in code that uses SQLAlchemy, outside modules that talk to a driver themselves."""

    def test(seen: Seen) -> bool:
        node = seen.node
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            is_one = str(node.values[0].value).startswith(scheme)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # More than the scheme, else it is compared with or replaced; and no sentence.
            is_one = re.fullmatch(rf"{scheme}\S+", node.value) is not None
        else:
            return False
        return is_one and "sqlalchemy" in seen.code.imported and not DRIVERS & _tops(seen)

    return test


def walks_routes(seen: Seen) -> bool:
    """A loop over `app.routes` that takes each for a route with a path."""
    node = seen.node
    if isinstance(node, ast.For):
        loops: list[tuple[ast.expr, ast.expr]] = [(node.iter, node.target)]
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        loops = [(each.iter, each.target) for each in node.generators]
    else:
        return False
    wanted = {"path", "methods", "endpoint", "dependant", "operation_id", "response_model", "path_format"}
    for iterated, target in loops:
        if isinstance(iterated, ast.Attribute) and iterated.attr == "routes" and isinstance(target, ast.Name):
            if seen.name(iterated.value) not in ("fastapi.FastAPI()", "fastapi.APIRouter()"):
                continue
            return any(
                isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
                and each.value.id == target.id and each.attr in wanted
                for each in ast.walk(node)
            )  # fmt: skip
    return False


def _yields(node: Function) -> Iterator[ast.stmt]:
    """The statements of a generator that hold its yield, from outside to inside."""
    inner = [each for each in ast.walk(node) if isinstance(each, ast.stmt) and not isinstance(each, Function)]
    yield from (each for each in inner if any(isinstance(part, ast.Yield) for part in ast.walk(each)))


def commits_late(seen: Seen) -> bool:
    """`Depends(get_session)` without a scope, where that generator commits after its yield."""
    function = _dependency(seen)
    return function is not None and _commits_after_yield(function)


def _dependency(seen: Seen) -> Function | None:
    """The function of `Depends(function)`, where it has no scope."""
    node = seen.node
    if not isinstance(node, ast.Call) or seen.name(node.func) != "fastapi.Depends" or not node.args:
        return None
    return None if keyword_value(node, "scope") else _function(node.args[0], seen)


def _function(node: ast.expr, seen: Seen) -> Function | None:
    """The function that a name means, in this file or in the one that it is imported from."""
    if not isinstance(node, ast.Name):
        return None
    where, _, name = seen.module.names.get(node.id, node.id).rpartition(".")
    stem = where.rpartition(".")[2]
    modules = [each for each in seen.code.modules if each.path.stem == stem] if where else [seen.module]
    bodies = (statement for module in modules for statement in module.tree.body)
    return next((each for each in bodies if isinstance(each, Function) and each.name == name), None)


def _commits_after_yield(node: Function) -> bool:
    yields = [each.lineno for each in ast.walk(node) if isinstance(each, ast.Yield)]
    commits = [each.lineno for each in ast.walk(node) if isinstance(each, ast.Call) and _is_method(each, "commit")]
    # `async with session.begin(): yield` commits at its end.
    begun = [
        item
        for statement in _yields(node)
        if isinstance(statement, ast.With | ast.AsyncWith)
        for item in statement.items
        if isinstance(item.context_expr, ast.Call) and _is_method(item.context_expr, "begin")
    ]
    return bool(yields) and (bool(begun) or max(commits, default=0) > max(yields))


def _is_method(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == name


def swallows(seen: Seen) -> bool:
    """A dependency whose `except` around the yield ends without raising."""
    function = _dependency(seen)
    tries = [each for each in _yields(function) if isinstance(each, ast.Try)] if function else []
    return any(
        not any(isinstance(each, ast.Raise) for each in ast.walk(handler))
        for statement in tries
        if any(isinstance(each, ast.Yield) for part in statement.body for each in ast.walk(part))
        for handler in statement.handlers
    )


def sends_untyped_json(seen: Seen) -> bool:
    """A JSON text as the raw content of a request, without a header that says so."""
    node = seen.node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr not in ("post", "put", "patch", "request") or keyword_value(node, "headers") is not None:
        return False
    if not {"httpx", "httpx2", "fastapi", "starlette"} & seen.code.imported:
        return False
    content = keyword_value(node, "content") or keyword_value(node, "data")
    if isinstance(content, ast.Constant):
        text = content.value if isinstance(content.value, bytes) else str(content.value).encode()
        return text.lstrip()[:1] in (b"{", b"[")
    return isinstance(content, ast.Call) and seen.name(content.func) == "json.dumps"


def sends_underscore(seen: Seen) -> bool:
    """A header whose name holds an underscore, in a request of a test client."""
    node = seen.node
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    headers = keyword_value(node, "headers")
    kinds = ("fastapi.testclient.TestClient()", "starlette.testclient.TestClient()", "httpx.AsyncClient()",
             "httpx2.AsyncClient()", "httpx.Client()", "httpx2.Client()")  # fmt: skip
    return (
        isinstance(headers, ast.Dict)
        and seen.name(node.func.value) in kinds
        and any(isinstance(key, ast.Constant) and "_" in str(key.value) for key in headers.keys)
    )


def reflects_origins(seen: Seen) -> bool:
    """CORS for every origin with credentials."""
    node = seen.node
    if not isinstance(node, ast.Call):
        return False
    is_cors = seen.name(node.func).endswith(".CORSMiddleware") or any(
        seen.name(each).endswith(".CORSMiddleware") for each in node.args
    )
    origins, credentials = keyword_value(node, "allow_origins"), keyword_value(node, "allow_credentials")
    return (
        is_cors
        and isinstance(origins, ast.List | ast.Tuple)
        and any(isinstance(each, ast.Constant) and each.value == "*" for each in origins.elts)
        and isinstance(credentials, ast.Constant)
        and credentials.value is True
    )


def catches_httpx_of_httpx2(seen: Seen) -> bool:
    node = seen.node
    if not isinstance(node, ast.ExceptHandler) or not {"httpx", "httpx2"} <= _tops(seen):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = [seen.name(kind) for kind in kinds]
    return any(name.startswith("httpx.") for name in names) and not any(name.startswith("httpx2.") for name in names)


def _tops(seen: Seen) -> set[str]:
    return {name.partition(".")[0] for name in seen.module.names.values()}


def patches_httpx_only(seen: Seen) -> bool:
    return uses("respx", "pytest_httpx", "respx.*", "pytest_httpx.*")(seen) and "httpx2" in seen.code.imported


def limits_by_default(seen: Seen) -> bool:
    return calls("slowapi.Limiter", "slowapi.extension.Limiter", keyword="default_limits|application_limits")(
        seen
    ) and any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "include_router"
        for module in seen.code.modules
        for each in ast.walk(module.tree)
    )


# ---------------------------------------------------------------------- the table

APP, ROUTER = "fastapi.FastAPI", "fastapi.APIRouter"
VERBS = ("get", "post", "put", "patch", "delete")
ROUTES = (*methods(APP, *VERBS), *methods(ROUTER, *VERBS))
PARAMETERS = tuple(f"fastapi.{name}" for name in ("Query", "Path", "Header", "Cookie", "Body", "Form", "File"))
OLD_STATUS = {
    "HTTP_422_UNPROCESSABLE_ENTITY": "HTTP_422_UNPROCESSABLE_CONTENT",
    "HTTP_413_REQUEST_ENTITY_TOO_LARGE": "HTTP_413_CONTENT_TOO_LARGE",
    "HTTP_414_REQUEST_URI_TOO_LONG": "HTTP_414_URI_TOO_LONG",
    "HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE": "HTTP_416_RANGE_NOT_SATISFIABLE",
}


def _status(names: Iterator[str] | list[str]) -> Test:
    return uses(*(f"{package}.status.{name}" for name in names for package in ("fastapi", "starlette")))


RULES: tuple[Rule, ...] = (
    # FastAPI
    Rule("swallowed-exception", "fastapi", "0.110", "changed",
         "a dependency whose `except` around its yield raises nothing makes the request a 500", "end it with `raise`",
         swallows),
    Rule("late-commit", "fastapi", "0.118", "changed",
         "what stands after a dependency's yield runs after the answer is sent: the client has a 201 before "
         "the commit, and keeps it when the commit fails",
         'Depends(..., scope="function") (0.121), or commit in the endpoint', commits_late),
    Rule("pydantic-v1", "fastapi", "0.126", "breaks", "models of pydantic.v1 are refused", "move them to Pydantic 2",
         uses("pydantic.v1*")),
    Rule("orjson-response", "fastapi", "0.131", "warns",
         "ORJSONResponse and UJSONResponse are deprecated: Pydantic serialises faster where a return type is given",
         "leave the class out, and give each route a return type",
         uses("fastapi.responses.ORJSONResponse", "fastapi.responses.UJSONResponse")),
    Rule("untyped-json", "fastapi", "0.132", "changed",
         "a JSON body without a JSON Content-Type is not parsed (422)", "json=..., or the header", sends_untyped_json),
    Rule("underscore-header", "fastapi", "0.136.3", "changed",
         "a header that is sent with an underscore matches no parameter", "send it with a hyphen", sends_underscore),
    Rule("route-tree", "fastapi", "0.137", "breaks",
         "app.routes is a tree: what came by include_router has no path there",
         "fastapi.routing.iter_route_contexts(app.routes) (0.137.2)", walks_routes),
    Rule("slowapi-defaults", "fastapi", "0.137", "changed",
         "SlowAPI's default limits pass over every included router", "a limit on each route, or a dependency",
         limits_by_default),
    Rule("fastapi-limiter", "fastapi", "0.137", "breaks", "fastapi-limiter answers 500 on included routers",
         "a dependency of your own on the package limits", uses("fastapi_limiter", "fastapi_limiter.*")),
    Rule("instrumentator", "fastapi", "0.137", "breaks",
         "prometheus-fastapi-instrumentator before 8.1 answers 500 on included routers", "install 8.1 or newer",
         uses("prometheus_fastapi_instrumentator", "prometheus_fastapi_instrumentator.*"),
         also=("prometheus-fastapi-instrumentator", "<8.1")),
    Rule("openapi-prefix", "fastapi", "0.145", "breaks", "FastAPI(openapi_prefix=) is gone: TypeError",
         "--root-path of the server", calls(APP, keyword="openapi_prefix")),
    Rule("root-path", "fastapi", "0.146", "warns", "FastAPI(root_path=) is deprecated", "--root-path of the server",
         calls(APP, keyword="root_path")),
    Rule("parameter-extra", "fastapi", "0.155", "breaks",
         "Query, Body and the like take no unknown keywords: TypeError", "min_length, max_length; json_schema_extra",
         calls(*PARAMETERS, keyword="min_items|max_items|unique_items|const|allow_mutation")),
    Rule("parameter-regex", "fastapi", "0.100", "warns", "regex= and example= of parameters are deprecated",
         "pattern=, examples=[...]", calls(*PARAMETERS, keyword="regex|example")),
    Rule("on-event", "fastapi", "0.93", "warns", "on_event is deprecated, and does nothing where lifespan= is given",
         "lifespan=", calls(*methods(APP, "on_event"), *methods(ROUTER, "on_event"))),
    Rule("needs-scope", "fastapi", "0.121", "needs", "Depends(scope=)", "install it, or commit in the endpoint",
         calls("fastapi.Depends", keyword="scope")),
    Rule("needs-strict-content-type", "fastapi", "0.132", "needs", "FastAPI(strict_content_type=)", "install it",
         calls(APP, ROUTER, keyword="strict_content_type")),
    Rule("needs-sse", "fastapi", "0.135", "needs", "fastapi.sse", "install it", uses("fastapi.sse", "fastapi.sse.*")),
    Rule("needs-route-contexts", "fastapi", "0.137.2", "needs", "iter_route_contexts", "install it",
         uses("fastapi.routing.iter_route_contexts")),
    Rule("needs-frontend", "fastapi", "0.138", "needs", "app.frontend()", "install it, or mount StaticFiles",
         calls(*methods(APP, "frontend"))),
    Rule("needs-telemetry", "fastapi", "0.142", "needs", "FastAPI(telemetry=)", "install it",
         calls(APP, keyword="telemetry")),
    Rule("needs-union-mode", "fastapi", "0.154", "needs", "union_mode=, fail_fast=, validate_default= of a parameter",
         "install it", calls(*PARAMETERS, keyword="union_mode|fail_fast|validate_default")),
    Rule("needs-max-concurrency", "fastapi", "0.163", "needs", "Depends(max_concurrency=)",
         "install it, or a semaphore", calls("fastapi.Depends", keyword="max_concurrency")),
    Rule("needs-max-body-size", "fastapi", "0.164", "needs", "max_body_size=", "install it, or a middleware",
         calls(APP, ROUTER, *ROUTES, keyword="max_body_size")),
    Rule("needs-form-limits", "fastapi", "0.165", "needs", "form_limits=", "install it",
         calls(APP, ROUTER, *ROUTES, keyword="form_limits")),
    # Starlette
    Rule("status-names", "starlette", "0.48", "warns",
         "old status names: " + ", ".join(sorted(OLD_STATUS)), "the names of RFC 9110: "
         + ", ".join(sorted(OLD_STATUS.values())), _status(list(OLD_STATUS))),
    Rule("needs-status-names", "starlette", "0.48", "needs", "status names of RFC 9110", "install it, or the numbers",
         _status(list(OLD_STATUS.values()))),
    Rule("removed-registration", "starlette", "1.0", "breaks",
         "add_event_handler, route, websocket_route and the like are gone", "lifespan=; the verbs' decorators; Route",
         calls(*methods(APP, "add_event_handler", "route"),
               *methods("starlette.applications.Starlette", "on_event", "add_event_handler", "route",
                        "websocket_route", "middleware", "exception_handler"))),
    Rule("starlette-startup", "starlette", "1.0", "breaks", "Starlette(on_startup=, on_shutdown=) is gone", "lifespan=",
         calls("starlette.applications.Starlette", keyword="on_startup|on_shutdown")),
    Rule("template-response", "starlette", "1.0", "breaks", "TemplateResponse(name, context) is gone",
         "TemplateResponse(request, name, context)",
         calls(*methods("fastapi.templating.Jinja2Templates", "TemplateResponse"),
               *methods("starlette.templating.Jinja2Templates", "TemplateResponse"), when=first_is_text)),
    Rule("cors-reflects", "starlette", "1.0", "changed",
         'CORS for "*" with credentials names the caller\'s origin in every answer: any site reads with its cookies',
         "list the origins, or allow_credentials=False", reflects_origins),
    Rule("testclient-httpx2", "starlette", "1.2", "warns", "TestClient wants httpx2, which is not installed",
         "install httpx2", uses("fastapi.testclient*", "starlette.testclient*"), also=("httpx2", "")),
    Rule("needs-body-limit", "starlette", "1.6", "needs", "starlette.middleware.body_limit", "install it",
         uses("starlette.middleware.body_limit", "starlette.middleware.body_limit.*")),
    # Pydantic
    Rule("base-settings", "pydantic", "2.0", "breaks", "pydantic.BaseSettings has moved: the import fails",
         "from pydantic_settings import BaseSettings", uses("pydantic.BaseSettings")),
    Rule("root-validator", "pydantic", "2.0", "breaks", "@root_validator without skip_on_failure=True fails",
         "@model_validator", decorates("pydantic.root_validator", but="skip_on_failure|pre")),
    Rule("validator", "pydantic", "2.0", "warns", "@validator is deprecated", "@field_validator with @classmethod",
         decorates("pydantic.validator")),
    Rule("config-class", "pydantic", "2.0", "warns", "class Config in a model is deprecated",
         "model_config = ConfigDict(...)", has_config_class),
    Rule("field-regex", "pydantic", "2.0", "breaks", "Field(regex=) is gone", "pattern=",
         calls("pydantic.Field", "pydantic.constr", keyword="regex")),
    Rule("model-methods", "pydantic", "2.0", "warns", ".dict(), .json(), .copy(), parse_obj of models are deprecated",
         "model_dump, model_dump_json, model_copy, model_validate",
         calls(*methods(MODEL, "dict", "json", "copy", "parse_obj", "parse_raw"))),
    Rule("experimental-missing", "pydantic", "2.14", "warns", "MISSING is no longer experimental",
         "from pydantic import MISSING", uses("pydantic.experimental.missing_sentinel*")),
    Rule("needs-missing", "pydantic", "2.14", "needs", "from pydantic import MISSING",
         "install it, or from pydantic.experimental.missing_sentinel (2.12)", uses("pydantic.MISSING")),
    Rule("needs-exclude-if", "pydantic", "2.12", "needs", "Field(exclude_if=)", "install it",
         calls("pydantic.Field", keyword="exclude_if")),
    # SQLAlchemy
    Rule("select-list", "sqlalchemy", "2.0", "breaks", "select([...]) is gone", "select(a, b)",
         calls("sqlalchemy.select", "sqlalchemy.sql.select", when=first_is_list)),
    Rule("declarative-base", "sqlalchemy", "2.0", "warns", "sqlalchemy.ext.declarative has moved",
         "class Base(DeclarativeBase)", uses("sqlalchemy.ext.declarative.declarative_base")),
    Rule("engine-execute", "sqlalchemy", "2.0", "breaks", "engine.execute() is gone", "with engine.begin()",
         calls(*methods("sqlalchemy.create_engine", "execute"))),
    Rule("postgresql-driver", "sqlalchemy", "2.1", "changed",
         "postgresql:// means psycopg 3, no longer psycopg2; in create_async_engine it is psycopg, not asyncpg",
         "name the driver: postgresql+asyncpg://, postgresql+psycopg://", is_url("postgresql://")),
    Rule("postgres-scheme", "sqlalchemy", "1.4", "breaks", "postgres:// is no name of a database: NoSuchModuleError",
         "postgresql+asyncpg://", is_url("postgres://")),
    Rule("greenlet", "sqlalchemy", "2.1", "breaks", "sqlalchemy.ext.asyncio needs greenlet, which is not installed",
         "install sqlalchemy[asyncio]", uses("sqlalchemy.ext.asyncio", "sqlalchemy.ext.asyncio.*"),
         also=("greenlet", "")),
    # httpx
    Rule("client-app", "httpx", "0.28", "breaks", "Client(app=) is gone", "transport=ASGITransport(app=app)",
         calls("httpx.AsyncClient", "httpx.Client", keyword="app")),
    Rule("client-app-2", "httpx2", "2.0", "breaks", "Client(app=) is gone", "transport=ASGITransport(app=app)",
         calls("httpx2.AsyncClient", "httpx2.Client", keyword="app")),
    Rule("client-proxies", "httpx", "0.28", "breaks", "proxies= is gone", "proxy=, or mounts=",
         calls("httpx.AsyncClient", "httpx.Client", *(f"httpx.{verb}" for verb in VERBS), keyword="proxies")),
    Rule("two-httpx", "httpx2", "2.0", "breaks", "exceptions of httpx2 are none of httpx: this handler misses them",
         "except httpx2....", catches_httpx_of_httpx2),
    Rule("patched-httpx", "httpx2", "2.0", "breaks", "respx and pytest-httpx patch httpx only",
         "httpx2.MockTransport", patches_httpx_only),
)  # fmt: skip
