"""What stands around the routes: CORS, rate limits, proxies; and what blocks the loop under them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Module, argument, is_true, keyword
from ..web import APP, METHODS, REQUEST, is_router, middleware, named
from .answers import CORS

SLOWAPI = named("slowapi slowapi.extension", "Limiter")
# Proxies add to it, so that its first part is the client's own. Headers that a proxy replaces are not meant.
SPOOFED = "x-forwarded-for"
CACHES = frozenset({"functools.lru_cache", "functools.cache"})
SYNC_CLIENTS = frozenset({
    "boto3.client", "boto3.resource", "psycopg.Connection.connect", "psycopg.connect", "psycopg2.connect",
    "pymongo.MongoClient", "pymysql.connect", "redis.Redis", "redis.Redis.from_url", "redis.StrictRedis",
    "redis.client.Redis", "redis.from_url", "smtplib.SMTP", "smtplib.SMTP_SSL", "sqlite3.connect",
})  # fmt: skip


@rule(
    "FR601",
    "CORS lets any origin use the visitor's cookies",
    why="Any origin with credentials is answered with that very origin: every site acts as the visitor.",
    mend="List the origins; or leave allow_credentials out (Bearer tokens don't need it).",
)
def cors(module: Module) -> Iterator[Hit]:
    for call in middleware(module, CORS):
        if not is_true(keyword(call, "allow_credentials")):
            continue
        origins = module.constant(keyword(call, "allow_origins"))
        pattern = module.constant(keyword(call, "allow_origin_regex"))
        if (isinstance(origins, (list, tuple, set)) and "*" in origins) or pattern in (
            ".*",
            "^.*$",
            "https?://.*",
            ".+",
        ):
            yield Hit(call)


@rule(
    "FR602",
    "SlowAPI's default limits skip included routers",
    why="Since FastAPI 0.137 its middleware finds no route behind include_router, and lets everything through.",
    mend="@limiter.limit on the routes, or a dependency of the router that counts with `limits`.",
    since={"fastapi": (0, 137)},
)
def default_limits(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in SLOWAPI and (given := keyword(call, "default_limits")) is not None:
            if module.constant(given) != [] and "include_router(" in module.project.audited_text:
                yield Hit(given)


@rule(
    "FR603",
    "the limit stands above the route",
    why="Decorators apply from below: the route was registered before the limit came, so nothing is limited.",
    mend="@router.get above, @limiter.limit directly at the function.",
)
def limit_above_route(module: Module) -> Iterator[Hit]:
    for function in module.functions():
        seen_limit: ast.expr | None = None
        for decorator in function.decorator_list:
            func = decorator.func if isinstance(decorator, ast.Call) else decorator
            if not isinstance(func, ast.Attribute):
                continue
            if func.attr in ("limit", "shared_limit") and module.made_by(func.value) in SLOWAPI:
                seen_limit = decorator
            elif func.attr in METHODS and is_router(module, func.value) and seen_limit is not None:
                yield Hit(seen_limit)


@rule(
    "FR604",
    "the client's address is read from a header",
    why="A client may send any X-Forwarded-For, and so escape limits and forge logs.",
    mend="request.client.host, with --forwarded-allow-ips set to the real proxy.",
    level="warning",
)
def forwarded(module: Module) -> Iterator[Hit]:
    for node in module.nodes(ast.Attribute):
        if node.attr != "headers" or module.is_test or module.made_by(node.value) not in REQUEST:
            continue
        use = module.parents.get(node)
        name: object = None
        if isinstance(use, ast.Subscript) and use.value is node:
            name = module.constant(use.slice)
        elif (
            isinstance(use, ast.Attribute)
            and use.attr == "get"
            and isinstance(call := module.parents.get(use), ast.Call)
        ):
            name, use = module.constant(argument(call, 0, "key")), call
        if isinstance(name, str) and name.lower() == SPOOFED and not _takes_last(module, node):
            yield Hit(use or node, f"the client's address is read from `{name}`")
    for statement, name in module.imports:
        if name == "slowapi.util.get_ipaddr":
            yield Hit(statement, "`get_ipaddr` reads the client's address from a header")


def _takes_last(module: Module, node: ast.AST) -> bool:
    """`[-1]`: what the nearest proxy added."""
    function = module.enclosing(node)
    return function is not None and any(
        isinstance(one, ast.Subscript) and isinstance(one.slice, ast.UnaryOp) for one in module.inside(function)
    )


@rule(
    "FR605",
    "a blocking client is used in `async def`",
    why="Each call stops the event loop until the other side answers.",
    mend="Use the package's async client (redis.asyncio, ...), or anyio.to_thread.run_sync.",
)
def blocking_client(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if (
            module.is_test
            or not isinstance(module.enclosing(call), ast.AsyncFunctionDef)
            or not isinstance(func, ast.Attribute)
        ):
            continue
        if module.made_by(func.value) in SYNC_CLIENTS and func.attr not in ("close", "pipeline"):
            yield Hit(call, f"`{ast.unparse(func)}` blocks the event loop")


@rule(
    "FR606",
    "`lru_cache` keeps a coroutine",
    why="The second caller awaits a coroutine that was awaited already: RuntimeError.",
    mend="Cache the awaited value: in app.state at start, or with a cache made for async functions.",
)
def cached_coroutine(module: Module) -> Iterator[Hit]:
    for function in module.nodes(ast.AsyncFunctionDef):
        for decorator in function.decorator_list:
            if module.resolve(decorator.func if isinstance(decorator, ast.Call) else decorator) in CACHES:
                yield Hit(decorator)


@rule(
    "FR607",
    "every proxy is trusted",
    why='With forwarded_allow_ips="*" any client names its own address and scheme.',
    mend="Name the addresses of the real proxies.",
    level="warning",
)
def every_proxy(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if (
            module.resolve(call.func) in ("uvicorn.run", "uvicorn.Config")
            and module.constant(keyword(call, "forwarded_allow_ips")) == "*"
        ):
            yield Hit(call)


@rule(
    "FR608",
    "a body limit of the app answers outside of all middleware",
    why="The 413 for a declared length has no CORS header, no request id and is plain text.",
    mend="RequestBodyLimitMiddleware as the innermost middleware; a route's max_body_size= still overrides it.",
    level="warning",
    since={"fastapi": (0, 164)},
)
def body_limit_of_app(module: Module) -> Iterator[Hit]:
    has_middleware = any(True for _ in middleware(module, CORS))
    for call in module.calls():
        if (
            module.resolve(call.func) in APP
            and (given := keyword(call, "max_body_size")) is not None
            and has_middleware
        ) and (module.constant(given) is not None or not isinstance(given, ast.Constant)):
            yield Hit(given)


@rule(
    "FR609",
    "a limited route lacks the parameter `request`",
    why="SlowAPI finds the client through it, and raises at import without it.",
    mend="request: Request, with exactly this name.",
)
def limit_without_request(module: Module) -> Iterator[Hit]:
    for function in module.functions():
        names = {one.name for one in module.parameters(function)}
        for decorator in function.decorator_list:
            func = decorator.func if isinstance(decorator, ast.Call) else None
            if isinstance(func, ast.Attribute) and func.attr == "limit" and module.made_by(func.value) in SLOWAPI:
                if not names & {"request", "websocket"} and function.args.kwarg is None:
                    yield Hit(function)
