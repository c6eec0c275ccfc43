"""Faults of tests that make them pass or fail for the wrong reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..model import Hit, rule
from ..source import Binding, Module
from ..web import DEPENDS, is_app

# What makes a test or a fixture run in a loop: marks, configuration, or a hook that adds marks.
MARKS = re.compile(r"asyncio|anyio|trio")
AUTOMATIC = re.compile(r"a(?:syncio|nyio)_mode\s*=\s*[\"']?auto|pytest_collection_modifyitems|pytest_pyfunc_call")
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


@rule(
    "FR703",
    "an async test has no mark",
    why="pytest runs no coroutines by itself: since version 9 such a test fails, before it was skipped.",
    mend="pytestmark = pytest.mark.anyio, with a fixture anyio_backend; or pytest-asyncio's mark.",
)
def unmarked_test(module: Module) -> Iterator[Hit]:
    tests = [
        one for one in module.nodes(ast.AsyncFunctionDef) if one.name.startswith("test_") and _is_collected(module, one)
    ]
    if not tests or not module.path.name.startswith("test_") or _is_automatic(module):
        return
    marked = any(binding.value and MARKS.search(ast.unparse(binding.value)) for binding in _pytestmarks(module))
    for test in tests if not marked else ():
        owner = module.parents.get(test)
        decorators = [*test.decorator_list, *(owner.decorator_list if isinstance(owner, ast.ClassDef) else [])]
        # A decorator, or a fixture of the loop's name, may be what runs it.
        if not decorators and "anyio_backend" not in {one.name for one in module.parameters(test)}:
            yield Hit(test)


def _is_collected(module: Module, test: ast.AsyncFunctionDef) -> bool:
    owner = module.parents.get(test)
    return owner is module.tree or (
        isinstance(owner, ast.ClassDef) and owner.name.startswith("Test") and not owner.bases
    )


def _pytestmarks(module: Module) -> list[Binding]:
    scopes = [module.tree, *module.nodes(ast.ClassDef)]
    return [one for scope in scopes for one in module.bindings.get(scope, {}).get("pytestmark", [])]


@rule(
    "FR704",
    "an async fixture under `@pytest.fixture`",
    why="pytest-asyncio in its strict mode, the default, does not run it: the test gets a coroutine or an error.",
    mend="@pytest_asyncio.fixture; or asyncio_mode = auto; or the anyio plugin.",
)
def plain_async_fixture(module: Module) -> Iterator[Hit]:
    uses = "pytest.mark.asyncio" in module.text or any(name.startswith("pytest_asyncio") for _, name in module.imports)
    if not uses or "anyio" in module.text or _is_automatic(module):
        return
    for function in module.nodes(ast.AsyncFunctionDef):
        for decorator in function.decorator_list:
            if module.resolve(decorator.func if isinstance(decorator, ast.Call) else decorator) == "pytest.fixture":
                yield Hit(function)


def _is_automatic(module: Module) -> bool:
    """Whether a configuration or a conftest.py above runs coroutines without marks."""
    return any(AUTOMATIC.search(text) for text in module.project.test_settings(module.path.parent))
