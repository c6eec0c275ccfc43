"""One parsed file: its nodes by kind, what each name stands for, and where values come from."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from .project import Definition, Project

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Following a value further than this means that it runs in circles.
DEPTH = 8
# Nodes that give names a meaning.
BINDING = frozenset({
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.arg, ast.ExceptHandler,
    ast.Name,
})  # fmt: skip
# Left out of the index: what they hold is no node, or says nothing by itself.
DULL = frozenset(
    {"arg", "asname", "attr", "ctx", "id", "kind", "level", "module", "names", "op", "ops", "type_comment"}
)

Node = TypeVar("Node", bound=ast.AST)


@dataclass(frozen=True)
class Binding:
    """One place that gives a name its meaning."""

    kind: Literal["import", "def", "class", "assign", "with", "parameter", "other"]
    node: ast.AST
    # of an import: the dotted name behind it
    target: str = ""
    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(frozen=True)
class Parameter:
    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    node: ast.arg


@dataclass(eq=False)
class Module:
    """A file of a project. `name` is its dotted name, seen from `root`, the folder above its topmost package."""

    path: Path
    text: str
    tree: ast.Module
    name: str
    root: Path
    project: Project
    by_type: dict[type, list[ast.AST]] = field(default_factory=lambda: defaultdict(list))
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    bindings: dict[ast.AST, dict[str, list[Binding]]] = field(default_factory=dict)
    # what the rules share about this module, worked out once
    facts: dict[str, Any] = field(default_factory=dict)
    _resolved: dict[ast.AST, str] = field(default_factory=dict)
    _insides: dict[ast.AST, list[ast.AST]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._index()

    def definition(self, name: str) -> Definition | None:
        """Where the project defines a dotted name, as this module would import it."""
        return self.project.find(name, self.root)

    # ------------------------------------------------------------ nodes

    def nodes(self, *kinds: type[Node]) -> Iterator[Node]:
        """Every node of these types, in no order; not for constants and names."""
        for kind in kinds:
            yield from self.by_type[kind]  # type: ignore[misc]

    def calls(self) -> Iterator[ast.Call]:
        return self.nodes(ast.Call)

    def functions(self) -> Iterator[Function]:
        yield from self.nodes(ast.FunctionDef)
        yield from self.nodes(ast.AsyncFunctionDef)

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def enclosing(self, node: ast.AST) -> Function | ast.Lambda | None:
        """The innermost function around a node. A decorator or a default is outside of its own function."""
        child = node
        for parent in self.ancestors(node):
            if isinstance(parent, (*FUNCTIONS, ast.Lambda)) and not _is_outside(parent, child):
                return parent
            child = parent
        return None

    def inside(self, function: ast.AST) -> list[ast.AST]:
        """The nodes of a function's body, without those of functions inside it."""
        if function not in self._insides:
            self._insides[function] = list(_inner_nodes(function))
        return self._insides[function]

    @cached_property
    def is_test(self) -> bool:
        name = self.path.name
        return (
            name.startswith("test_")
            or name.endswith("_test.py")
            or name == "conftest.py"
            or "tests" in self.path.relative_to(self.root.parent).parts
        )

    # ------------------------------------------------------------ names

    def find(self, name: str, at: ast.AST) -> list[Binding]:
        """The bindings of the nearest scope that has this name; empty for builtins and unknown names."""
        child, first = at, True
        for parent in (at, *self.ancestors(at)):
            if not isinstance(parent, SCOPES):
                child = parent
                continue
            # A class's names are seen in its own body only, and a decorator or default lies outside its function.
            hidden = parent is at or _is_outside(parent, child) or (isinstance(parent, ast.ClassDef) and not first)
            if not hidden:
                first = False
                if found := self.bindings.get(parent, {}).get(name):
                    return found
            child = parent
        return []

    def resolve(self, node: ast.AST | None) -> str:
        """The dotted name behind an expression, such as `fastapi.Depends`; empty when it is not certain."""
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return ""
        if node not in self._resolved:
            self._resolved[node] = self._resolve(node)
        return self._resolved[node]

    def _resolve(self, node: ast.Name | ast.Attribute) -> str:
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value)
            return f"{base}.{node.attr}" if base else ""
        found = self.find(node.id, node)
        if not found:
            return f"builtins.{node.id}" if hasattr(builtins, node.id) else ""
        for binding in found:
            if binding.kind == "import":
                return binding.target
        if found[-1].kind in ("def", "class", "assign") and self.bindings[self.tree].get(node.id) is found:
            return f"{self.name}.{node.id}"
        return ""

    @cached_property
    def imports(self) -> list[tuple[ast.stmt, str]]:
        """Each import statement with each dotted name that it brings."""
        plain = [(node, alias.name) for node in self.nodes(ast.Import) for alias in node.names]
        named = [
            (node, f"{self.absolute(node)}.{alias.name}") for node in self.nodes(ast.ImportFrom) for alias in node.names
        ]
        return [*plain, *named]

    def absolute(self, node: ast.ImportFrom) -> str:
        """The module that a `from` names, with the dots of a relative one resolved."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".") if self.path.name == "__init__.py" else self.name.split(".")[:-1]
        base = package[: len(package) - (node.level - 1)]
        return ".".join([*base, *([node.module] if node.module else [])])

    # ------------------------------------------------------------ values and types

    def made_by(self, node: ast.AST | None, depth: int = 0) -> str:
        """The dotted name of the class or function that made a value, or of its declared type; empty if unknown."""
        if node is None or depth > DEPTH:
            return ""
        if isinstance(node, ast.Await):
            return self.made_by(node.value, depth + 1)
        if isinstance(node, ast.Call):
            return self._type_of_call(node, depth)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return self._type_of_attribute(node, depth)
        if isinstance(node, ast.Name):
            for binding in self.find(node.id, node):
                if found := self._type_of_binding(binding, depth + 1):
                    return found
        if isinstance(node, ast.Attribute) and (defined := self.definition(self.resolve(node))):
            return defined.module.made_by(getattr(defined.node, "value", None), depth + 1)
        return ""

    def _type_of_call(self, node: ast.Call, depth: int) -> str:
        name = self.resolve(node.func)
        defined = self.definition(name)
        if defined and isinstance(defined.node, FUNCTIONS):
            return defined.module.type_of(defined.node.returns, depth + 1)
        return name

    def _type_of_binding(self, binding: Binding, depth: int) -> str:
        if binding.kind == "import":
            defined = self.definition(binding.target)
            if defined is None or isinstance(defined.node, (*FUNCTIONS, ast.ClassDef)):
                return ""
            annotation = getattr(defined.node, "annotation", None)
            value = getattr(defined.node, "value", None)
            return defined.module.type_of(annotation, depth) or defined.module.made_by(value, depth)
        declared = self.type_of(binding.annotation, depth)
        return declared or (self.made_by(binding.value, depth) if binding.kind in ("assign", "with") else "")

    def _type_of_attribute(self, node: ast.Attribute, depth: int) -> str:
        owner = next((one for one in self.ancestors(node) if isinstance(one, ast.ClassDef)), None)
        for assignment in ast.walk(owner) if owner else ():
            if isinstance(assignment, ast.Assign):
                for target in assignment.targets:
                    if isinstance(target, ast.Attribute) and target.attr == node.attr and target is not node:
                        return self.made_by(assignment.value, depth + 1)
        return ""

    def type_of(self, annotation: ast.expr | None, depth: int = 0) -> str:
        """The class that an annotation names: `X` of `X | None`, `Optional[X]`, `Annotated[X, ...]`, `"X"`, aliases."""
        if annotation is None or depth > DEPTH:
            return ""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            parsed = self.parse_string(annotation)
            return self.type_of(parsed, depth + 1)
        if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
            sides = [side for side in (annotation.left, annotation.right) if not _is_none(side)]
            return self.type_of(sides[0], depth + 1) if len(sides) == 1 else ""
        if isinstance(annotation, ast.Subscript):
            outer = self.resolve(annotation.value)
            if outer.rpartition(".")[2] in ("Annotated", "Optional", "Mapped", "ClassVar", "Final"):
                return self.type_of(elements(annotation.slice)[0], depth + 1)
            return outer
        name = self.resolve(annotation)
        defined = self.definition(name)
        if defined and isinstance(defined.node, (ast.Assign, ast.AnnAssign)) and defined.node.value:
            return defined.module.type_of(defined.node.value, depth + 1) or name
        return name

    def parse_string(self, node: ast.Constant) -> ast.expr | None:
        """The expression in a quoted annotation, put where the string stands."""
        try:
            parsed = ast.parse(str(node.value), mode="eval").body
        except SyntaxError:
            return None
        for inner in ast.walk(parsed):
            for child in ast.iter_child_nodes(inner):
                self.parents[child] = inner
        self.parents[parsed] = self.parents.get(node, self.tree)
        return parsed

    def is_a(self, name: str, wanted: frozenset[str], depth: int = 0) -> bool:
        """Whether a dotted name is one of these classes, or a class of the project that descends from one."""
        if not name or depth > DEPTH:
            return False
        if name in wanted:
            return True
        defined = self.definition(name)
        if defined is None or not isinstance(defined.node, ast.ClassDef):
            return False
        return any(
            defined.module.is_a(defined.module.resolve(_unsubscripted(base)), wanted, depth + 1)
            for base in defined.node.bases
        )

    def parameters(self, function: Function | ast.Lambda) -> list[Parameter]:
        spec = function.args
        plain = [*spec.posonlyargs, *spec.args]
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(spec.defaults))
        pairs = zip(plain, [*defaults, *spec.defaults], strict=True)
        named = zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
        return [Parameter(one.arg, one.annotation, default, one) for one, default in [*pairs, *named]]

    def constant(self, node: ast.AST | None, depth: int = 0) -> object:
        """The value of a literal, or of a name that is assigned one literal; None when there is none."""
        if depth > DEPTH or node is None:
            return None
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.assigned(node)
            return self.constant(value, depth + 1) if value is not node else None
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None

    def assigned(self, node: ast.AST) -> ast.AST:
        """The expression behind a name that is assigned once, here or in a module that is imported; else itself."""
        if isinstance(node, ast.Name):
            found = self.find(node.id, node)
            if len(found) == 1 and found[0].kind == "assign" and found[0].value is not None:
                return found[0].value
            if found and found[0].kind != "import":
                return node
        defined = self.definition(self.resolve(node))
        value = getattr(defined.node, "value", None) if defined else None
        return value if isinstance(value, ast.AST) else node

    # ------------------------------------------------------------ the index

    def _index(self) -> None:
        """One walk that fills `by_type`, `parents` and `bindings`. Most of an audit's time is spent here."""
        by_type, parents = self.by_type, self.parents
        self.bindings[self.tree] = defaultdict(list)
        waiting: list[tuple[ast.AST, ast.AST]] = [(self.tree, self.tree)]
        while waiting:
            node, scope = waiting.pop()
            kind = type(node)
            by_type[kind].append(node)
            if kind in BINDING:
                self._bind(node, scope)
            inner = scope
            if kind in SCOPES and node is not self.tree:
                inner = node
                self.bindings[node] = defaultdict(list)
            for name in _fields(kind.__name__):
                value = getattr(node, name, None)
                # What a function's line says is evaluated outside of it, names in its parameters excepted.
                there = inner if name in ("body", "args") else scope
                for child in value if type(value) is list else (value,):
                    if isinstance(child, ast.AST):
                        parents[child] = node
                        if not _is_leaf(child):
                            waiting.append((child, there))

    def _bind(self, node: ast.AST, scope: ast.AST) -> None:
        names = self.bindings[scope]
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.partition(".")[0]
                names[bound].append(Binding("import", node, alias.name if alias.asname else bound))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                target = f"{self.absolute(node)}.{alias.name}"
                names[alias.asname or alias.name].append(Binding("import", node, target))
        elif isinstance(node, FUNCTIONS):
            names[node.name].append(Binding("def", node))
        elif isinstance(node, ast.ClassDef):
            names[node.name].append(Binding("class", node))
        elif isinstance(node, ast.arg):
            names[node.arg].append(Binding("parameter", node, annotation=node.annotation))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names[node.name].append(Binding("other", node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id].append(self._stored(node))

    def _stored(self, node: ast.Name) -> Binding:
        parent = self.parents.get(node)
        if isinstance(parent, ast.Assign):
            return Binding("assign", parent, value=parent.value)
        if isinstance(parent, ast.AnnAssign):
            return Binding("assign", parent, value=parent.value, annotation=parent.annotation)
        if isinstance(parent, ast.NamedExpr):
            return Binding("assign", parent, value=parent.value)
        if isinstance(parent, ast.withitem):
            return Binding("with", parent, value=parent.context_expr)
        return Binding("other", node)


def _is_leaf(node: ast.AST) -> bool:
    """Constants, and names that are read: half of all nodes, and nothing below them."""
    return type(node) is ast.Constant or (type(node) is ast.Name and type(node.ctx) is ast.Load)


def _inner_nodes(function: ast.AST) -> Iterator[ast.AST]:
    body = getattr(function, "body", ())
    waiting: list[ast.AST] = [body] if isinstance(body, ast.AST) else list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.Lambda)):
            for name in _fields(type(node).__name__):
                value = getattr(node, name, None)
                waiting.extend(
                    child for child in (value if type(value) is list else (value,)) if isinstance(child, ast.AST)
                )


@cache
def _fields(kind: str) -> tuple[str, ...]:
    """The fields of a type of node that may hold nodes worth indexing."""
    known: tuple[str, ...] = getattr(ast, kind)._fields
    return () if kind == "Constant" else tuple(name for name in known if name not in DULL)


def _is_outside(scope: ast.AST, child: ast.AST) -> bool:
    """Decorators, defaults, annotations and base classes belong to the scope around."""
    if isinstance(scope, (*FUNCTIONS, ast.ClassDef)):
        return child not in scope.body
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _unsubscripted(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node


def elements(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else [node]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in call.keywords if one.arg == name), None)


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """An argument by place or by name; None as well where `*args` hides the places."""
    places = call.args[: position + 1]
    if len(places) > position and not any(isinstance(one, ast.Starred) for one in places):
        return places[position]
    return keyword(call, name)


def has_unknown_keywords(call: ast.Call) -> bool:
    return any(one.arg is None for one in call.keywords) or any(isinstance(one, ast.Starred) for one in call.args)


def is_true(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
