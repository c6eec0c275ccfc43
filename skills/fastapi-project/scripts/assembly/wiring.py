"""The app's own files with the parts of its blocks put in: text in, text out."""

import ast
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from .blocks import Choice, Declared, Library, Middleware

WIDTH = 120


@dataclass(frozen=True)
class Wiring:
    """What the blocks of a choice put into the files of the app."""

    routers: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]  # (module, class): none derives from another
    required: tuple[str, ...]
    requirements: tuple[str, ...]
    parts: Declared
    # The classes of all blocks: another one is the project's own, and stays.
    known: frozenset[str]

    @property
    def settings_class(self) -> tuple[str, str]:
        """Module and name of the class that the app makes."""
        if len(self.settings) > 1:
            return "app_settings", "AppSettings"
        return self.settings[0] if self.settings else ("settings", "Settings")


def wiring(library: Library, choice: Choice) -> Wiring:
    sources = choice.sources
    routers = tuple(name for name, source in sources.items() if source.router)
    settings = tuple((name, kind) for name, source in sources.items() if name != "settings" for kind in source.settings)
    required = {each for source in sources.values() for kind in source.settings.values() for each in kind}
    declared = [block.declared for block in choice.blocks.values()]
    parts = Declared(
        **{
            each.name: tuple(dict.fromkeys(value for one in declared for value in getattr(one, each.name)))
            for each in fields(Declared)
        }
    )
    known = {kind for block in library.blocks.values() for kind in block.source.settings} | {"AppSettings"}
    requirements = _requirements(library, choice, parts)
    return Wiring(routers, settings, tuple(sorted(required)), requirements, parts, frozenset(known))


def _requirements(library: Library, choice: Choice, parts: Declared) -> tuple[str, ...]:
    imported = {package for source in choice.sources.values() for package in source.packages}
    lines = {library.packages.get(package, package.replace("_", "-")) for package in imported}
    return tuple(sorted({line for line in lines if line} | set(parts.requirements)))


class NoPlaceError(Exception):
    """A file was changed so much that the place for a part isn't found; the part is in the message."""


def wire_application(text: str, wired: Wiring) -> str:
    """`application.py` with all parts. A part that is there is left alone, so it may be done again."""
    parts = wired.parts
    for find, new in parts.edits:
        if new not in text:
            text = _replaced(text, find, new)
    imports = list(parts.imports)
    if wired.routers:
        text = _with_routers(text, wired.routers)
        imports.append(f"from . import {', '.join(wired.routers)}")
    text, more = _with_settings(text, wired, ".")
    text = with_imports(text, [*imports, *more])
    for line in parts.state:
        text = _after(text, r"^( *)app\.state\.settings = settings\n", line)
    for line in parts.make:
        text = _after(text, r"^( *)app\.state\.sessionmaker = .*\n", line)
    for line in parts.start:
        text = _before(text, r"^( *)await (?:prepare_schema|upgrade)\(", line)
    if parts.during:
        text = _during(text, parts.during)
    for line in parts.stop:
        text = _before(text, r"^( *)await app\.state\.engine\.dispose\(\)", line)
    for one in parts.middleware:
        text = _around(text, one)
    text = _with_listed(text, "allow_headers", parts.cors_allow)
    text = _with_listed(text, "expose_headers", parts.cors_expose)
    return _with_body_limit(text, parts.body_limit)


def _replaced(text: str, find: str, new: str) -> str:
    if text.count(find) != 1:
        raise NoPlaceError(f"{find.strip()} -> {new.strip()}")
    return text.replace(find, new)


def _has(text: str, line: str) -> bool:
    return any(each.strip() == line for each in text.splitlines())


def _after(text: str, pattern: str, line: str) -> str:
    """Below the line of the pattern, and below what was put there before."""
    found = re.search(pattern, text, re.MULTILINE)
    if _has(text, line):
        return text
    if not found:
        raise NoPlaceError(line)
    end = found.end()
    while (following := re.compile(rf"{found[1]}app\.state\.\w+ = .*\n").match(text, end)) is not None:
        end = following.end()
    return f"{text[:end]}{found[1]}{line}\n{text[end:]}"


def _before(text: str, pattern: str, line: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if _has(text, line):
        return text
    if not found:
        raise NoPlaceError(line)
    return f"{text[: found.start()]}{found[1]}{line}\n{text[found.start() :]}"


def _during(text: str, items: Sequence[str]) -> str:
    """Wrap the `yield` of the lifespan; items that begin with `with ` are no async ones and stand inside the others."""
    missing = [item for item in items if item.removeprefix("with ") not in text]
    if not missing:
        return text
    found = re.search(r"^( *)yield\n", text, re.MULTILINE)
    if not found:
        raise NoPlaceError(f"around the lifespan's yield: {', '.join(missing)}")
    block, indent = "", found[1]
    plain = [item.removeprefix("with ") for item in missing if item.startswith("with ")]
    for word, some in (("async with", [item for item in missing if not item.startswith("with ")]), ("with", plain)):
        if some:
            block += listed(f"{indent}{word} ", some, ":", ("(", ")")) + "\n"
            indent += "    "
    return f"{text[: found.start()]}{block}{indent}yield\n{text[found.end() :]}"


def _around(text: str, one: Middleware) -> str:
    if _has(text, one.add):
        return text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _adds(node.value, one.outside):
            lines = text.splitlines(keepends=True)
            lines.insert(node.end_lineno or 0, f"{' ' * node.col_offset}{one.add}\n")
            return "".join(lines)
    raise NoPlaceError(one.add)


def _adds(call: ast.Call, name: str) -> bool:
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "add_middleware"
        and isinstance(call.args[0], ast.Name)
        and call.args[0].id == name
    )


def _with_routers(text: str, routers: Sequence[str]) -> str:
    found = re.search(r"^ROUTERS\b[^=\n]*= \(([^)]*)\)\n", text, re.MULTILINE)
    if not found:
        raise NoPlaceError(f"ROUTERS = ({', '.join(f'{router}.router' for router in routers)})")
    present = [each.strip() for each in found[1].split(",") if each.strip()]
    every = list(dict.fromkeys([*present, *(f"{router}.router" for router in routers)]))
    head = text[found.start() : found.start(1) - 1]
    # A tuple of one needs its comma.
    items = listed(f"{head}(", every, ",)" if len(every) == 1 else ")", ("", ""))
    return f"{text[: found.start()]}{items}\n{text[found.end() :]}"


def _with_settings(text: str, wired: Wiring, package: str) -> tuple[str, list[str]]:
    """The class of the settings renamed everywhere, and the import for it; `package` is what stands before a module."""
    module, kind = wired.settings_class
    found = re.search(r"\bsettings: (\w+)", text)
    if not found or found[1] not in wired.known:
        own = found[1] if found else "the settings' class"
        raise NoPlaceError(f"{own} extends {', '.join(kind for _, kind in wired.settings) or kind}")
    if found[1] != kind:
        text = re.sub(rf"^from [\w.]+ import {found[1]}\n", "", text, flags=re.MULTILINE)
        text = re.sub(rf"\b{found[1]}\b", kind, text)
    return text, [f"from {package}{module} import {kind}"]


def _with_listed(text: str, argument: str, values: Sequence[str]) -> str:
    found = re.search(rf"^( *){argument}=\[([^]]*)\],\n", text, re.MULTILINE)
    if not values:
        return text
    if not found:
        raise NoPlaceError(f"{argument}: {', '.join(values)}")
    present = [each.strip() for each in found[2].split(",") if each.strip()]
    every = list(dict.fromkeys([*present, *(json.dumps(value) for value in values)]))
    items = listed(f"{found[1]}{argument}=[", every, "],", ("", ""))
    return f"{text[: found.start()]}{items}\n{text[found.end() :]}"


def _with_body_limit(text: str, limits: Sequence[str]) -> str:
    """The largest of the limits: it is the whole app's, and a route may lower it."""
    missing = [limit for limit in limits if limit not in text]
    if not missing:
        return text
    pattern = r"^( *)app\.add_middleware\(RequestBodyLimitMiddleware, max_body_size=(.+)\)\n"
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise NoPlaceError(f"RequestBodyLimitMiddleware: max_body_size at least {', '.join(missing)}")
    limit = f"max({', '.join([found[2], *missing])})"
    lines = f"{found[1]}max_body_bytes = {limit}\n{found[0].replace(found[2], 'max_body_bytes')}"
    return f"{text[: found.start()]}{lines}{text[found.end() :]}"


def listed(head: str, items: Sequence[str], tail: str, around: tuple[str, str]) -> str:
    """Items on one line, or, where that is too long, on a line each; then `around` encloses them."""
    line = head + ", ".join(items) + tail
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(head) - len(head.lstrip()))
    rows = "".join(f"{indent}    {item},\n" for item in items)
    return f"{head}{around[0]}\n{rows}{indent}{around[1]}{tail}"


def wire_conftest(text: str, wired: Wiring) -> str:
    """The tests' `conftest.py`: the class of the settings, and values for those without a default."""
    package = re.search(r"^from ([\w.]+)\.application import", text, re.MULTILINE)
    if not package:
        raise NoPlaceError(f"the fixture `settings` makes {wired.settings_class[1]}")
    text, more = _with_settings(text, wired, rf"{package[1]}.")
    text = with_imports(text, [*wired.parts.test_imports, *more])
    call = _made_settings(text)
    if call is None:
        raise NoPlaceError(", ".join(f"{name}={value}" for name, value in wired.parts.test_settings))
    present = [ast.get_source_segment(text, word) or "" for word in call.keywords]
    known = {word.arg for word in call.keywords}
    added = [f"{name}={value}" for name, value in wired.parts.test_settings if name not in known]
    if not added:
        return text
    lines = text.splitlines(keepends=True)
    head = f"{lines[call.lineno - 1][: call.col_offset]}{ast.unparse(call.func)}("
    block = listed(head, [*present, *added], ")", ("", ""))
    return "".join(lines[: call.lineno - 1]) + block + "\n" + "".join(lines[call.end_lineno or 0 :])


def _made_settings(text: str) -> ast.Call | None:
    """What the fixture `settings` returns."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == "settings":
            last = node.body[-1]
            if isinstance(last, ast.Return) and isinstance(last.value, ast.Call) and not last.value.args:
                return last.value
    return None


def app_settings(wired: Wiring) -> str:
    """One class of all the blocks' settings."""
    lines = ['"""All settings of this service, those of its blocks together; its own fields stand here."""\n\n']
    lines += [f"from .{module} import {kind}\n" for module, kind in wired.settings]
    kinds = [kind for _, kind in wired.settings]
    lines += ["\n\n", listed("class AppSettings(", kinds, "):", ("", "")), "\n"]
    lines += ['    """A field without a default must be set, else the service does not start."""\n']
    return "".join(lines)


def with_imports(text: str, added: Sequence[str]) -> str:
    """The import block with these too, sorted as ruff's isort does."""
    tree = ast.parse(text)
    present = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if not present:
        raise NoPlaceError("; ".join(added))
    first, last = present[0].lineno - 1, present[-1].end_lineno or 0
    lines = text.splitlines(keepends=True)
    # Comments would get lost, and so would code between two imports.
    between = [node for node in tree.body if node not in present and first < node.lineno <= last]
    if between or any("#" in line for line in lines[first:last]):
        raise NoPlaceError("; ".join(added))
    plain: set[str] = set()
    taken: dict[str, set[str]] = {}
    for node in [*present, *ast.parse("\n".join(added)).body]:
        if isinstance(node, ast.Import):
            plain |= {ast.unparse(alias) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            taken.setdefault(module, set()).update(ast.unparse(alias) for alias in node.names)
    own = re.search(r"^from ([\w]+)[\w.]*\.application import", text, re.MULTILINE)
    return "".join(lines[:first]) + _sorted_imports(plain, taken, own[1] if own else "") + "".join(lines[last:])


def _sorted_imports(plain: set[str], taken: Mapping[str, set[str]], own: str) -> str:
    def section(module: str) -> int:
        top = module.partition(".")[0]
        if module.startswith("."):
            return 3
        return 0 if top in sys.stdlib_module_names else 2 if top == own else 1

    def member(name: str) -> tuple[int, str]:
        return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name.lower())

    sections = []
    for number in range(4):
        lines = [f"import {name}\n" for name in sorted(plain, key=str.lower) if section(name) == number]
        for module in sorted(taken, key=lambda module: (module != ".", module.lower())):
            if section(module) == number:
                items = sorted(taken[module], key=member)
                lines.append(listed(f"from {module} import ", items, "", ("(", ")")) + "\n")
        if lines:
            sections.append("".join(lines))
    return "\n".join(sections)
