"""Sessions, transactions, engines, SQL, and values that end in a column."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import FUNCTIONS, Function, Module, argument, has_unknown_keywords, is_true, keyword
from ..web import (
    ASYNC_SESSION,
    MODEL,
    SETTINGS,
    SYNC_SESSION,
    client_text,
    dependency,
    depends,
    injected,
    is_tested,
    mark_of,
    named,
    names_in,
    routes,
)

ASYNC_ENGINE = named("sqlalchemy.ext.asyncio sqlalchemy.ext.asyncio.engine", "create_async_engine")
ENGINES = ASYNC_ENGINE | named("sqlalchemy sqlalchemy.engine sqlmodel", "create_engine")
ASYNC_ENGINE_TYPES = ASYNC_ENGINE | named("sqlalchemy.ext.asyncio sqlalchemy.ext.asyncio.engine", "AsyncEngine")
SESSIONMAKER = named("sqlalchemy.orm sqlalchemy.orm.session", "sessionmaker")
SYNC_DRIVERS = re.compile(
    r"(postgres|postgresql|mysql|mariadb|sqlite|oracle|mssql|postgresql\+psycopg2|mysql\+pymysql)://"
)
TEXT = named("sqlalchemy sqlalchemy.sql sqlalchemy.sql.expression sqlmodel", "text")
SESSION_WORK = frozenset({
    "add", "add_all", "commit", "delete", "exec", "execute", "flush", "get", "merge", "query", "refresh", "rollback",
    "scalar", "scalars",
})  # fmt: skip
# Made at import, such a value is the same for every row.
MADE_ONCE = frozenset({
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today", "time.time",
    "uuid.uuid1", "uuid.uuid4", "uuid.uuid7", "secrets.token_hex", "secrets.token_urlsafe", "secrets.token_bytes",
})  # fmt: skip
COLUMNS = named("sqlalchemy sqlalchemy.orm sqlalchemy.schema", "Column", "mapped_column")
FIELDS = named("pydantic pydantic.fields sqlmodel sqlmodel.main", "Field")
LIKES = frozenset({"like", "ilike", "notlike", "notilike", "not_like", "not_ilike"})


@rule(
    "FR201",
    "the transaction commits after the answer was sent",
    why="A dependency's code after yield runs once the client has its 201; a failed commit can't change that any more.",
    mend='Depends(..., scope="function"), or commit in the endpoint.',
    since={"fastapi": (0, 118)},
)
def late_commit(module: Module) -> Iterator[Hit]:
    late: dict[str, list[ast.Call]] = {}
    for call in depends(module):
        found = dependency(module, call)
        if found and keyword(call, "scope") is None and commits_after_yield(*found):
            late.setdefault(found[1].name, []).append(call)
    for name, calls in late.items():
        first = min(calls, key=lambda one: (one.lineno, one.col_offset))
        more = f", {len(calls)} times in this file" if len(calls) > 1 else ""
        yield Hit(first, f"`{name}` commits after the answer was sent{more}")


def commits_after_yield(module: Module, function: Function) -> bool:
    """Whether a generator commits once it goes on: by a call, or by leaving a transaction's block."""
    yields = [node for node in module.inside(function) if isinstance(node, ast.Yield)]
    if len(yields) != 1:
        return False
    held = yields[0].value
    for parent in module.ancestors(yields[0]):
        if parent is function:
            break
        if isinstance(parent, (ast.With, ast.AsyncWith)) and any(_begins(one.context_expr) for one in parent.items):
            return True
    return isinstance(held, ast.Name) and any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "commit"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == held.id
        and node.lineno > yields[0].lineno
        for node in module.inside(function)
    )


def _begins(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin"


@rule(
    "FR202",
    "`sessionmaker` gets an async engine",
    why="It makes sync sessions: `async with` on one is a TypeError, sync use fails outside a greenlet.",
    mend="async_sessionmaker(engine, expire_on_commit=False)",
)
def sync_sessionmaker(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in SESSIONMAKER and keyword(call, "class_") is None:
            if module.made_by(argument(call, 0, "bind")) in ASYNC_ENGINE_TYPES and not has_unknown_keywords(call):
                yield Hit(call)


@rule(
    "FR203",
    "an async engine gets a URL without an async driver",
    why="postgresql:// means psycopg since SQLAlchemy 2.1 and fails before; sqlite:// and mysql:// fail always.",
    mend="postgresql+asyncpg://, sqlite+aiosqlite:///",
)
def sync_url(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) in ASYNC_ENGINE:
            url = argument(call, 0, "url")
            if url is not None and SYNC_DRIVERS.match(_start_of_text(module, url)):
                yield Hit(url)


def _start_of_text(module: Module, node: ast.expr) -> str:
    node_value = module.assigned(node)
    if isinstance(node_value, ast.JoinedStr) and node_value.values:
        node_value = node_value.values[0]
    value = module.constant(node_value)
    return value if isinstance(value, str) else ""


@rule(
    "FR204",
    "`echo=True` logs bound values",
    why="Every statement goes to the log with its values: password hashes, tokens, personal data.",
    mend="Leave it off, or take it from a setting, with hide_parameters=True.",
)
def echo(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if not module.is_test and module.resolve(call.func) in ENGINES and is_true(keyword(call, "echo")):
            if not is_true(keyword(call, "hide_parameters")):
                yield Hit(call)


@rule(
    "FR205",
    "a sync session is used in `async def`",
    why="Each query stops the event loop, so all other requests wait for the database.",
    mend="Make the route `def`, or use AsyncSession.",
)
def sync_session(module: Module) -> Iterator[Hit]:
    for function in {route.function for route in routes(module)}:
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        sessions = {one.name for one in module.parameters(function) if module.type_of(one.annotation) in SYNC_SESSION}
        for call in _session_calls(module, function, sessions):
            yield Hit(call, f"`{ast.unparse(call.func)}` of a sync session blocks the event loop")
            break


def _session_calls(module: Module, function: Function, sessions: set[str]) -> list[ast.Call]:
    found = [
        node
        for node in module.inside(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SESSION_WORK
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in sessions
    ]
    return sorted(found, key=lambda one: (one.lineno, one.col_offset))


@rule(
    "FR206",
    "a client's text becomes SQL",
    why="text() binds only what stands as :name in it; everything else is run by the database.",
    mend="text('... :name') with parameters; for a sort order a Literal type and a table of columns.",
)
def text_from_client(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        if module.resolve(call.func) not in TEXT or not call.args:
            continue
        function = module.enclosing(call)
        if not isinstance(function, FUNCTIONS):
            continue
        if function not in injected(module):
            continue
        free = [one for one in sorted(_pasted(call.args[0]) & client_text(module, function))
                if not is_tested(module, function, one)]  # fmt: skip
        if free:
            yield Hit(call, f"`{free[0]}` becomes SQL")


def _pasted(node: ast.AST) -> set[str]:
    """Names whose text is put into a string, or is the string."""
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.JoinedStr):
        return {
            part.value.id
            for part in node.values
            if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name)
        }
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        return _pasted(node.left) | (names_in(node.right) if isinstance(node.op, ast.Mod) else _pasted(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return {one.id for one in [*node.args, *(key.value for key in node.keywords)] if isinstance(one, ast.Name)}
    return set()


@rule(
    "FR207",
    "`%` and `_` of a client's text are wildcards",
    why="A search for % finds every row, and a pattern of many % is slow.",
    mend="column.icontains(text, autoescape=True)",
    level="warning",
)
def wildcards(module: Module) -> Iterator[Hit]:
    if not any(name.split(".")[0] in ("sqlalchemy", "sqlmodel") for _, name in module.imports):
        return
    told = set()
    for call in sorted(module.calls(), key=lambda one: (one.lineno, one.col_offset)):
        func = call.func
        if not (isinstance(func, ast.Attribute) and func.attr in LIKES and call.args) or keyword(call, "escape"):
            continue
        function = module.enclosing(call)
        if isinstance(function, FUNCTIONS) and function in injected(module) and function not in told:
            pasted = _pasted(module.assigned(call.args[0]))
            if names := sorted(pasted & client_text(module, function)):
                if not _rewritten(module, function, names[0]):
                    told.add(function)
                    yield Hit(call, f"`%` and `_` in `{names[0]}` are wildcards")


def _rewritten(module: Module, function: Function, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name
        for node in module.inside(function)
    )


@rule(
    "FR208",
    "a default is made once, at import",
    why="Every row and every object gets the same time, id or token.",
    mend="Give the function itself: default=uuid4, default_factory=lambda: datetime.now(UTC).",
)
def made_once(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        name = module.resolve(call.func)
        if name in COLUMNS:
            yield from _if_made_once(module, keyword(call, "default"), keyword(call, "onupdate"))
        elif name in FIELDS:
            yield from _if_made_once(module, argument(call, 0, "default"))
    for owner in module.nodes(ast.ClassDef):
        bases = [module.resolve(base) for base in owner.bases]
        # Settings are made once as well: a key of its own for each start may be meant.
        if any(module.is_a(one, MODEL) for one in bases) and not any(module.is_a(one, SETTINGS) for one in bases):
            values = [one.value for one in owner.body if isinstance(one, ast.AnnAssign)]
            yield from _if_made_once(module, *values)


def _if_made_once(module: Module, *values: ast.expr | None) -> Iterator[Hit]:
    for value in values:
        made = value
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "str" and made.args:
            made = made.args[0]
        if isinstance(made, ast.Call) and (name := module.resolve(made.func)) in MADE_ONCE:
            yield Hit(made, f"`{name.rpartition('.')[2]}()` is called once, at import")


@rule(
    "FR209",
    "a dependency swallows the route's exception",
    why="What the route raised arrives at the yield; when it is not raised again the answer is a 500 without a cause.",
    mend="raise at the end of the except block.",
    since={"fastapi": (0, 110)},
)
def swallows(module: Module) -> Iterator[Hit]:
    for function in _yielding_dependencies(module):
        for node in module.inside(function):
            if not isinstance(node, ast.Try) or not _yields_in(node.body):
                continue
            for handler in node.handlers:
                if _is_broad(module, handler) and not _leaves(handler):
                    yield Hit(handler)


def _yielding_dependencies(module: Module) -> set[Function]:
    found = [dependency(module, call) for call in depends(module)]
    return {one[1] for one in found if one and one[0] is module}


def _yields_in(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Yield) for statement in body for node in ast.walk(statement))


def _is_broad(module: Module, handler: ast.ExceptHandler) -> bool:
    names = Counter(module.resolve(one) for one in _types(handler))
    return handler.type is None or bool(set(names) & {"builtins.Exception", "builtins.BaseException"})


def _types(handler: ast.ExceptHandler) -> list[ast.expr]:
    if handler.type is None:
        return []
    return list(handler.type.elts) if isinstance(handler.type, ast.Tuple) else [handler.type]


def _leaves(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, (ast.Raise, ast.Yield)) for node in ast.walk(handler))


@rule(
    "FR210",
    "a table is the request's body",
    why="A SQLModel with table=True validates nothing, and a client sets every column: id, role, owner.",
    mend="A model of its own for input, without table=True, that lists what a client may set.",
)
def table_as_body(module: Module) -> Iterator[Hit]:
    for route in routes(module):
        if route.method in ("get", "head"):
            continue
        for one in module.parameters(route.function):
            defined = module.definition(module.type_of(one.annotation))
            if defined and isinstance(defined.node, ast.ClassDef) and not mark_of(module, one):
                if any(key.arg == "table" and is_true(key.value) for key in defined.node.keywords):
                    yield Hit(one.node, f"`{defined.node.name}` is a table and the request's body")


@rule(
    "FR211",
    "a background task gets the request's session",
    why="A function-scoped session is closed by then, nobody commits; a request-scoped one keeps its connection.",
    mend="Give it ids; let it open a session of its own.",
    level="warning",
)
def session_in_task(module: Module) -> Iterator[Hit]:
    for call in module.calls():
        func = call.func
        if not (isinstance(func, ast.Attribute) and func.attr == "add_task"):
            continue
        if module.made_by(func.value) not in named(
            "fastapi fastapi.background starlette.background", "BackgroundTasks"
        ):
            continue
        for given in [*call.args[1:], *(key.value for key in call.keywords)]:
            if isinstance(given, ast.Name) and module.made_by(given) in ASYNC_SESSION | SYNC_SESSION:
                yield Hit(given, f"a background task gets the request's session `{given.id}`")
