"""What comes in: limits of lists, file names, paths, addresses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Function, Module, Parameter, argument, keyword
from ..web import PARAMETER_MARKS, UPLOAD, Route, client_text, injected, is_tested, mark_of, named, names_in, routes

LIMITS = frozenset({"limit", "page_size", "per_page", "pagesize", "perpage", "page_limit", "max_results"})
PATHS = frozenset(
    {
        "pathlib.Path",
        "pathlib.PurePath",
        "os.path.join",
        "builtins.open",
        "aiofiles.open",
        "anyio.Path",
        "anyio.open_file",
    }
)
FILE_RESPONSE = named("fastapi.responses starlette.responses", "FileResponse")
CLEANERS = frozenset(
    {"basename", "secure_filename", "is_relative_to", "resolve", "realpath", "abspath", "commonpath", "commonprefix"}
)
FETCHERS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "stream"})
CLIENTS = named("httpx httpx2", "AsyncClient", "Client") | {
    "aiohttp.ClientSession",
    "requests.Session",
    "requests.session",
}
FETCHING = frozenset(
    {f"{package}.{verb}" for package in ("httpx", "httpx2", "requests") for verb in FETCHERS}
    | {"urllib.request.urlopen"}
)


@rule(
    "FR501",
    "a client chooses how many rows it gets",
    why="limit=100000000 loads the table into memory; limit=-1 is an error of PostgreSQL and so a 500.",
    mend="limit: Annotated[int, Query(ge=1, le=100)] = 20",
)
def unbounded_limit(module: Module) -> Iterator[Hit]:
    for function in injected(module):
        for one in module.parameters(function):
            if one.name.lower() in LIMITS and module.type_of(one.annotation) == "builtins.int":
                if not _is_bounded(module, function, one):
                    yield Hit(one.node, f"`{one.name}` has no upper bound")


def _is_bounded(module: Module, function: Function, one: Parameter) -> bool:
    if mark_of(module, one):
        return True
    fields = named("pydantic pydantic.fields", "Field")
    mark = mark_of(module, one, PARAMETER_MARKS | fields)
    if mark and (
        keyword(mark, "le") is not None
        or keyword(mark, "lt") is not None
        or any(key.arg is None for key in mark.keywords)
    ):
        return True
    # An alias, or a mark of another package, may hold a bound.
    annotation = one.annotation
    if isinstance(annotation, (ast.Name, ast.Attribute)) and module.resolve(annotation) != "builtins.int":
        return True
    if isinstance(annotation, ast.Subscript) and mark is None and "Annotated" in ast.dump(annotation.value):
        return True
    return _is_clamped(module, function, one.name)


def _is_clamped(module: Module, function: Function, name: str) -> bool:
    for node in module.inside(function):
        if isinstance(node, ast.Call) and module.resolve(node.func) == "builtins.min" and name in names_in(node):
            return True
        if isinstance(node, ast.Compare) and name in names_in(node):
            return True
    return False


@rule(
    "FR502",
    "an upload's file name becomes a path",
    why="../ and absolute names write outside of the folder, and equal names overwrite each other.",
    mend="Store under a name of your own (uuid4().hex) and keep the client's name as text.",
)
def upload_name(module: Module) -> Iterator[Hit]:
    for node in module.nodes(ast.Attribute):
        if node.attr != "filename" or not isinstance(node.value, ast.Name) or module.made_by(node.value) not in UPLOAD:
            continue
        if (use := _path_around(module, node)) and not _is_cleaned(module, node, use):
            yield Hit(node, f"`{ast.unparse(node)}` becomes a path")


def _path_around(module: Module, node: ast.AST) -> ast.AST | None:
    """The call or the `/` that makes a path of a value, seen through f-strings and sums."""
    child = node
    for parent in module.ancestors(node):
        if isinstance(parent, ast.Call) and child in parent.args:
            return parent if module.resolve(parent.func) in PATHS | FILE_RESPONSE else None
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Div):
            return parent
        if not isinstance(parent, (ast.JoinedStr, ast.FormattedValue, ast.BinOp)):
            return None
        child = parent
    return None


def _is_cleaned(module: Module, node: ast.AST, use: ast.AST) -> bool:
    """Whether only the last part of it is taken (`Path(x).name`, `.suffix`), or the function checks where it leads."""
    parent = module.parents.get(use)
    if isinstance(parent, ast.Attribute) and parent.attr in ("name", "suffix", "stem", "suffixes"):
        return True
    function = module.enclosing(node)
    return function is not None and any(
        isinstance(one, ast.Attribute) and one.attr in CLEANERS for one in module.inside(function)
    )


@rule(
    "FR503",
    "a client's text becomes a path",
    why="../ and absolute paths lead to any file that the service can read.",
    mend="Look the file up by id; or resolve() it and require is_relative_to(folder).",
)
def client_path(module: Module) -> Iterator[Hit]:
    for route in routes(module):
        free = client_text(module, route.function) - _single_segments(route)
        for node in module.inside(route.function):
            if isinstance(node, ast.Name) and node.id in free and isinstance(node.ctx, ast.Load):
                use = _path_around(module, node)
                if use and not _is_cleaned(module, node, use) and not is_tested(module, route.function, node.id):
                    yield Hit(node, f"`{node.id}` becomes a path")
                    break


def _single_segments(route: Route) -> set[str]:
    """Path parameters that can't hold a slash."""
    return set(re.findall(r"\{(\w+)\}", route.path))


@rule(
    "FR504",
    "a client chooses which address the service calls",
    why="It reaches what only the service can: metadata of the cloud, neighbours, localhost. HttpUrl is no guard.",
    mend="Resolve the host, require is_global of each address, connect to that, follow no redirects; or a fixed list.",
)
def fetched_url(module: Module) -> Iterator[Hit]:
    for route in routes(module):
        free = client_text(module, route.function)
        for node in module.inside(route.function):
            if isinstance(node, ast.Call) and _fetches(module, node):
                verb = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                url = argument(node, 1 if verb in ("request", "stream") else 0, "url")
                if isinstance(url, ast.Call) and module.resolve(url.func) == "builtins.str" and url.args:
                    url = url.args[0]
                if isinstance(url, ast.Name) and url.id in free and not is_tested(module, route.function, url.id):
                    yield Hit(node, f"a client chooses with `{url.id}` which address the service calls")


def _fetches(module: Module, call: ast.Call) -> bool:
    if module.resolve(call.func) in FETCHING:
        return True
    func = call.func
    return isinstance(func, ast.Attribute) and func.attr in FETCHERS and module.made_by(func.value) in CLIENTS
