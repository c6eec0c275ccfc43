"""What no longer works, or warns: packages, imports, keywords, methods, names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Module, argument, has_unknown_keywords, keyword
from ..web import APP, MODEL, is_app, is_router, named

APP_KEYWORDS = frozenset(
    [
        "callbacks",
        "contact",
        "debug",
        "default_response_class",
        "dependencies",
        "deprecated",
        "description",
        "docs_url",
        "exception_handlers",
        "form_limits",
        "generate_unique_id_function",
        "include_in_schema",
        "license_info",
        "lifespan",
        "max_body_size",
        "middleware",
        "on_shutdown",
        "on_startup",
        "openapi_external_docs",
        "openapi_tags",
        "openapi_url",
        "redirect_slashes",
        "redoc_url",
        "responses",
        "root_path",
        "root_path_in_servers",
        "routes",
        "separate_input_output_schemas",
        "servers",
        "strict_content_type",
        "summary",
        "swagger_ui_init_oauth",
        "swagger_ui_oauth2_redirect_url",
        "swagger_ui_parameters",
        "telemetry",
        "terms_of_service",
        "title",
        "version",
        "webhooks",
    ]
)
PARAMETER_KEYWORDS = frozenset(
    [
        "alias",
        "alias_priority",
        "allow_inf_nan",
        "convert_underscores",
        "decimal_places",
        "default",
        "default_factory",
        "deprecated",
        "description",
        "discriminator",
        "embed",
        "example",
        "examples",
        "fail_fast",
        "ge",
        "gt",
        "include_in_schema",
        "json_schema_extra",
        "le",
        "lt",
        "max_digits",
        "max_length",
        "media_type",
        "min_length",
        "multiple_of",
        "openapi_examples",
        "pattern",
        "regex",
        "serialization_alias",
        "strict",
        "title",
        "union_mode",
        "validate_default",
        "validation_alias",
    ]
)
PARAMETER_FUNCTIONS = named(
    "fastapi fastapi.param_functions", "Query", "Path", "Body", "Header", "Cookie", "Form", "File"
)
OLD_STATUSES = {
    "HTTP_422_UNPROCESSABLE_ENTITY": "HTTP_422_UNPROCESSABLE_CONTENT",
    "HTTP_413_REQUEST_ENTITY_TOO_LARGE": "HTTP_413_CONTENT_TOO_LARGE",
    "HTTP_414_REQUEST_URI_TOO_LONG": "HTTP_414_URI_TOO_LONG",
    "HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE": "HTTP_416_RANGE_NOT_SATISFIABLE",
}
STATUS_MODULES = ("fastapi.status", "starlette.status")
OLD_RESPONSES = named("fastapi.responses", "ORJSONResponse", "UJSONResponse")
GONE_FROM_PYDANTIC = {
    "pydantic.BaseSettings": "BaseSettings is in pydantic_settings",
    "pydantic.model_config": "model_config = ConfigDict(...) stands in the class",
}
VALIDATORS = {"pydantic.validator": "field_validator", "pydantic.root_validator": "model_validator"}
OLD_METHODS = {
    "dict": "model_dump", "json": "model_dump_json", "copy": "model_copy", "parse_obj": "model_validate",
    "parse_raw": "model_validate_json", "from_orm": "model_validate", "construct": "model_construct",
    "schema": "model_json_schema", "schema_json": "model_json_schema", "update_forward_refs": "model_rebuild",
}  # fmt: skip
DECLARATIVE = named("sqlalchemy.ext.declarative", "declarative_base", "as_declarative", "declared_attr")
TEMPLATES = named("fastapi.templating starlette.templating", "Jinja2Templates")


def _imports(module: Module, package: str) -> Iterator[Hit]:
    """The statements that import a package, each once."""
    found = {statement: None for statement, name in module.imports if f"{name}.".startswith(f"{package}.")}
    yield from map(Hit, found)


@rule(
    "FR101",
    "passlib is imported",
    why=("It is unmaintained since 2020, raises on every hash with bcrypt 5, and needs `crypt`, gone in Python 3.13."),
    mend=(
        "Use pwdlib[argon2]: PasswordHash.recommended(), verify_and_update; it can verify bcrypt hashes that "
        "are stored."
    ),
)
def passlib(module: Module) -> Iterator[Hit]:
    yield from _imports(module, "passlib")


@rule(
    "FR102",
    "python-jose is imported",
    why="It is hardly maintained; FastAPI's own documentation moved to PyJWT.",
    mend="Use PyJWT (import jwt), or joserfc for encrypted tokens and key sets.",
    level="warning",
)
def jose(module: Module) -> Iterator[Hit]:
    yield from _imports(module, "jose")


@rule(
    "FR103",
    "aioredis is imported",
    why="It was merged into redis-py and is no longer maintained.",
    mend="import redis.asyncio as redis",
)
def aioredis(module: Module) -> Iterator[Hit]:
    yield from _imports(module, "aioredis")


@rule(
    "FR104",
    "fastapi-limiter is imported",
    why="It answers 500 on every route that came through include_router since FastAPI 0.137.",
    mend="Count in a dependency with the package `limits`.",
    since={"fastapi": (0, 137)},
)
def fastapi_limiter(module: Module) -> Iterator[Hit]:
    yield from _imports(module, "fastapi_limiter")


@rule(
    "FR105",
    "fastapi-cache2 is imported",
    why=(
        "Its last release is of 2024; it has no lock against stampedes, and its default key is the same for all users."
    ),
    mend="Use cashews, or redis.asyncio with the user's id in the key.",
    level="warning",
)
def fastapi_cache(module: Module) -> Iterator[Hit]:
    yield from _imports(module, "fastapi_cache")


@rule(
    "FR106",
    "`on_event` is deprecated",
    why="Start and stop are two functions that share nothing, and a lifespan silences them.",
    mend="Use FastAPI(lifespan=...) with an async context manager.",
    level="warning",
)
def on_event(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr == "on_event" and is_router(module, func.value):
            yield Hit(call)


@rule(
    "FR107",
    "start-up handlers beside `lifespan=` never run",
    why="An app with a lifespan ignores on_event, on_startup and on_shutdown without a word.",
    mend="Move their work into the lifespan.",
)
def on_event_beside_lifespan(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr == "on_event" and is_app(module, func.value):
            made = module.assigned(func.value)
            if isinstance(made, ast.Call) and _has_lifespan(made):
                yield Hit(call)
        if module.is_a(module.resolve(func), APP) and _has_lifespan(call):
            if handlers := keyword(call, "on_startup") or keyword(call, "on_shutdown"):
                yield Hit(handlers)


def _has_lifespan(call: ast.Call) -> bool:
    given = keyword(call, "lifespan")
    return given is not None and not (isinstance(given, ast.Constant) and given.value is None)


@rule(
    "FR108",
    "the method was removed",
    why="Starlette 1.0 removed it, so the module can't be imported.",
    mend="Use lifespan= for events, and the decorators of the method (get, post, api_route) for routes.",
    since={"fastapi": (0, 130), "starlette": (1,)},
)
def removed_methods(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if (
            isinstance(func, ast.Attribute)
            and func.attr in ("add_event_handler", "route")
            and is_app(module, func.value)
        ):
            yield Hit(call, f"FastAPI has no method `{func.attr}`")


@rule(
    "FR109",
    "the response class is deprecated",
    why=(
        "FastAPI serialises with Pydantic in Rust when there is a return type; the class only warns and needs"
        " a package."
    ),
    mend="Drop it and declare a return type.",
    level="warning",
    since={"fastapi": (0, 131)},
)
def old_responses(module: Module) -> Iterator[Hit]:
    for statement, name in module.imports:
        if name in OLD_RESPONSES:
            yield Hit(statement, f"`{name.rpartition('.')[2]}` is deprecated")


@rule(
    "FR110",
    "the name of a status was replaced",
    why="The old name warns, and with warnings as errors it fails.",
    mend="Use the new name.",
    level="warning",
    since={"fastapi": (0, 117), "starlette": (0, 48)},
)
def old_statuses(module: Module) -> Iterator[Hit]:
    for statement, path in module.imports:
        holder, _, name = path.rpartition(".")
        if name in OLD_STATUSES and holder in STATUS_MODULES:
            yield Hit(statement, f"`{name}` is now `{OLD_STATUSES[name]}`")
    for node in module.nodes(ast.Attribute):
        if node.attr in OLD_STATUSES and module.resolve(node.value) in STATUS_MODULES:
            yield Hit(node, f"`{node.attr}` is now `{OLD_STATUSES[node.attr]}`")


@rule(
    "FR111",
    "a keyword is deprecated",
    why="It warns at each start and will be removed.",
    mend="pattern= for regex=, examples=[...] for example=.",
    level="warning",
)
def deprecated_keywords(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in PARAMETER_FUNCTIONS:
            for old, new in (("regex", "pattern"), ("example", "examples")):
                if keyword(call, old) is not None:
                    yield Hit(call, f"`{old}=` is deprecated, `{new}=` replaces it")


@rule(
    "FR112",
    "`FastAPI(root_path=)` is deprecated",
    why="The prefix belongs to the proxy in front, not to the code.",
    mend="Start with --root-path (uvicorn, fastapi run).",
    level="warning",
    since={"fastapi": (0, 146)},
)
def root_path(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in APP and (given := keyword(call, "root_path")) is not None:
            if module.constant(given) != "":
                yield Hit(given)


@rule(
    "FR113",
    "the keyword is unknown",
    why="Unknown keywords were kept as extras before; now they are a TypeError at import.",
    mend="Remove it; json_schema_extra= takes what should be in the schema.",
    since={"fastapi": (0, 155)},
)
def unknown_keywords(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        name = module.resolve(call.func)
        known = APP_KEYWORDS if name in APP else PARAMETER_KEYWORDS if name in PARAMETER_FUNCTIONS else None
        for one in call.keywords if known else ():
            if one.arg and known and one.arg not in known:
                yield Hit(one.value, f"`{name.rpartition('.')[2]}` takes no keyword `{one.arg}`")


@rule(
    "FR114",
    "the name is no longer in pydantic",
    why="The import fails with Pydantic 2.",
    mend="from pydantic_settings import BaseSettings; model_config = ConfigDict(...).",
    since={"pydantic": (2,)},
)
def gone_from_pydantic(module: Module) -> Iterator[Hit]:
    for statement, name in module.imports:
        if name in GONE_FROM_PYDANTIC:
            yield Hit(statement, f"not in Pydantic 2: {GONE_FROM_PYDANTIC[name]}")


@rule(
    "FR115",
    "`pydantic.v1` is used with FastAPI",
    why="FastAPI takes no models of Pydantic 1 any more.",
    mend="Use models of Pydantic 2.",
    since={"fastapi": (0, 126)},
)
def pydantic_v1(module: Module) -> Iterator[Hit]:
    names = list(module.imports)
    if not any(name.startswith("fastapi.") or name == "fastapi" for _, name in names):
        return
    for statement, name in names:
        # Inside a function it may be there to tell old models apart.
        if name.startswith("pydantic.v1") and module.enclosing(statement) is None:
            yield Hit(statement)


@rule(
    "FR116",
    "`class Config` in a model",
    why="It is Pydantic 1 and warns.",
    mend="model_config = ConfigDict(...), SettingsConfigDict(...) for settings.",
    level="warning",
    since={"pydantic": (2,)},
)
def class_config(module: Module) -> Iterator[Hit]:
    for outer in module.nodes(ast.ClassDef):
        inner = next((one for one in outer.body if isinstance(one, ast.ClassDef) and one.name == "Config"), None)
        if inner and _is_model(module, outer):
            yield Hit(inner)


def _is_model(module: Module, node: ast.ClassDef) -> bool:
    return any(module.is_a(module.resolve(base), MODEL) for base in node.bases)


@rule(
    "FR117",
    "a validator of Pydantic 1",
    why="It warns, and root_validator without skip_on_failure fails.",
    mend="field_validator with @classmethod, model_validator(mode=...).",
    level="warning",
    since={"pydantic": (2,)},
)
def old_validators(module: Module) -> Iterator[Hit]:
    for function in module.functions():
        for decorator in function.decorator_list:
            name = module.resolve(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if name in VALIDATORS:
                yield Hit(decorator, f"`@{name.rpartition('.')[2]}` is Pydantic 1, `@{VALIDATORS[name]}` replaces it")


@rule(
    "FR118",
    "a method of Pydantic 1",
    why="It warns and will be removed.",
    mend="Use the method named model_...",
    level="warning",
    since={"pydantic": (2,)},
)
def old_methods(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr in OLD_METHODS and _holds_model(module, func.value, func.attr):
            yield Hit(call, f"`.{func.attr}()` is Pydantic 1, `.{OLD_METHODS[func.attr]}()` replaces it")


def _holds_model(module: Module, node: ast.expr, method: str) -> bool:
    """Whether it is a model, or an instance of one, that doesn't define the method itself."""
    name = module.resolve(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
    defined = module.definition(name)
    if not (defined and isinstance(defined.node, ast.ClassDef)):
        name = module.made_by(node)
    return module.is_a(name, MODEL) and not _defines(module, name, method)


def _defines(module: Module, name: str, method: str, depth: int = 0) -> bool:
    defined = module.definition(name)
    if defined is None or not isinstance(defined.node, ast.ClassDef) or depth > 5:
        return False
    if any(getattr(one, "name", None) == method for one in defined.node.body):
        return True
    owner = defined.module
    return any(_defines(owner, owner.resolve(base), method, depth + 1) for base in defined.node.bases)


@rule(
    "FR119",
    "`sqlalchemy.ext.declarative` is deprecated",
    why="It warns since SQLAlchemy 2.0 and gives no types.",
    mend="class Base(DeclarativeBase), with Mapped and mapped_column.",
    level="warning",
    since={"sqlalchemy": (2,)},
)
def declarative(module: Module) -> Iterator[Hit]:
    for statement, name in module.imports:
        if name in DECLARATIVE:
            yield Hit(statement)


@rule(
    "FR120",
    "a loop over `.routes` misses included routers",
    why="Since FastAPI 0.137 the list is a tree: what include_router added is one node without a path.",
    mend="for route in fastapi.routing.iter_route_contexts(app.routes)",
    since={"fastapi": (0, 137)},
)
def routes_as_list(module: Module) -> Iterator[Hit]:
    loops = [one.iter for one in module.nodes(ast.For)] + [one.iter for one in module.nodes(ast.comprehension)]
    for it in loops:
        if isinstance(it, ast.Attribute) and it.attr == "routes" and is_router(module, it.value):
            yield Hit(it)


@rule(
    "FR121",
    "`TemplateResponse` gets the name before the request",
    why="Starlette 1.0 removed that order: a TypeError, so a 500.",
    mend="TemplateResponse(request, name, context)",
    since={"fastapi": (0, 130), "starlette": (1,)},
)
def template_response(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if isinstance(func, ast.Attribute) and func.attr == "TemplateResponse" and call.args:
            if isinstance(module.constant(call.args[0]), str) and module.made_by(func.value) in TEMPLATES:
                yield Hit(call)


@rule(
    "FR122",
    "`AsyncClient(app=)` is gone",
    why="httpx 0.28 and httpx2 raise a TypeError.",
    mend=(
        "AsyncClient(transport=ASGITransport(app=app), base_url=...); run app.router.lifespan_context(app) around it."
    ),
    since={"httpx": (0, 28)},
)
def async_client(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if (
            module.resolve(call.func) in named("httpx httpx2", "AsyncClient", "Client")
            and keyword(call, "app") is not None
        ):
            yield Hit(call)


@rule(
    "FR123",
    "`uvicorn.run` gets an app where it needs its name",
    why="With reload or several workers uvicorn prints a warning and exits.",
    mend='uvicorn.run("package.module:app", ...)',
)
def uvicorn_object(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) != "uvicorn.run" or has_unknown_keywords(call):
            continue
        several = module.constant(keyword(call, "workers"))
        wants = module.constant(keyword(call, "reload")) is True or (isinstance(several, int) and several > 1)
        given = argument(call, 0, "app")
        if wants and given is not None and is_app(module, given):
            yield Hit(call)


@rule(
    "FR124",
    "`MISSING` is imported from where it was an experiment",
    why="The old place warns since Pydantic 2.14, and with warnings as errors it fails.",
    mend="from pydantic import MISSING",
    level="warning",
    since={"pydantic": (2, 14)},
)
def old_missing(module: Module) -> Iterator[Hit]:
    for statement, name in module.imports:
        if name == "pydantic.experimental.missing_sentinel.MISSING":
            yield Hit(statement)
