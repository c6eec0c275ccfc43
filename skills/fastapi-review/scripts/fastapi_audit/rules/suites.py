"""Faults of tests that make them pass or fail for the wrong reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Module
from ..web import DEPENDS, is_app

FIXTURES = frozenset({"pytest.fixture", "pytest_asyncio.fixture"})


@rule(
    "FR701",
    "a fixture `event_loop` is ignored",
    why="pytest-asyncio 1.x doesn't look for it: the loop that it makes is not the one of the tests.",
    mend="Drop it; loop_scope= of the mark and the fixtures says what lives how long.",
    level="warning",
)
def event_loop(module: Module) -> Iterator[Hit]:
    for function in module.functions():
        names = [module.resolve(one.func if isinstance(one, ast.Call) else one) for one in function.decorator_list]
        if function.name == "event_loop" and FIXTURES & set(names):
            yield Hit(function)


@rule(
    "FR702",
    "an override is stored under a call",
    why="dependency_overrides is looked up by the function itself; the result of calling it is never found.",
    mend="app.dependency_overrides[get_session] = ...",
)
def override_of_call(module: Module) -> Iterator[Hit]:
    for node in module.nodes(ast.Subscript):
        value = node.value
        if isinstance(value, ast.Attribute) and value.attr == "dependency_overrides" and is_app(module, value.value):
            if isinstance(node.slice, ast.Call) and isinstance(node.ctx, ast.Store):
                if module.resolve(node.slice.func) in DEPENDS or _is_plain(module, node.slice):
                    yield Hit(node)


def _is_plain(module: Module, call: ast.Call) -> bool:
    """A call of a generator or coroutine function: what it gives can't be the dependency."""
    found = module.find(call.func.id, call.func) if isinstance(call.func, ast.Name) else []
    defined = found[0].node if len(found) == 1 else None
    if defined is None or isinstance(defined, (ast.Import, ast.ImportFrom)):
        known = module.definition(module.resolve(call.func))
        defined = known.node if known else None
    if isinstance(defined, ast.AsyncFunctionDef):
        return True
    return isinstance(defined, ast.FunctionDef) and any(isinstance(one, ast.Yield) for one in module.inside(defined))
