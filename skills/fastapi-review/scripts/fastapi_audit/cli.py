"""The command line. Exit codes: 0 nothing found, 1 something found, 2 wrong use, or no file was looked at."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from .engine import RULES, audit
from .model import AuditError, Finding, Version
from .output import FORMATS, explained
from .project import PACKAGES, python_files, version

EPILOG = """
A finding is silenced by a comment on its line or alone on the line above, with a reason:
    # audit: ignore[FR204] the local console is meant to show SQL
Ruff finds other faults: run `ruff check --select FAST,ASYNC,S,DTZ,B,BLE,RUF006,UP` beside it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; what it returns is the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except AuditError as error:
        print(f"audit.py: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audit.py",
        description="Reviews FastAPI code for faults that ruff does not look for.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders; without --app the working folder")
    parser.add_argument(
        "--app", metavar="MODULE:APP", help="import this app (or factory, with a final `()`) and review its routes"
    )
    parser.add_argument(
        "--app-dir", type=Path, default=Path(), help="the folder that --app is imported from (default: .)"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the Python that --app is imported with (default: this one)"
    )
    parser.add_argument("--format", choices=sorted(FORMATS), default="text")
    parser.add_argument("--output", type=Path, help="write there instead of to the terminal")
    parser.add_argument(
        "--select", metavar="RULES", action="append", help="only these: FR201,FR3 (a beginning is a group)"
    )
    parser.add_argument("--ignore", metavar="RULES", action="append", help="all but these")
    parser.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="files or folders to leave out")
    parser.add_argument(
        "--installed",
        metavar="PACKAGE==VERSION",
        action="append",
        default=[],
        help="what the project runs with, such as fastapi==0.115.2 (default: what its lock file or pins say)",
    )
    parser.add_argument("--explain", metavar="RULE", help="say why a rule is there and how to mend its findings")
    parser.add_argument("--rules", action="store_true", help="list the rules")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.rules:
        print("".join(f"{one.id} {one.level:7} {one.title}\n" for one in RULES.values()), end="")
        return 0
    if options.explain:
        print(explained(RULES[_ids([options.explain], exact=True).pop()]), end="")
        return 0
    selected = selection(options.select, options.ignore)
    findings: list[Finding] = []
    if options.paths or not options.app:
        findings += _of_files(options, selected)
    if options.app:
        # Only needed with --app.
        from .application import audit_app

        findings += audit_app(options.app, options.app_dir, options.python, selected)
    findings = sorted(set(findings))
    _write(FORMATS[options.format](findings), options.output)
    if options.format == "text":
        print(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}", file=sys.stderr)
    return 1 if findings else 0


def _of_files(options: argparse.Namespace, selected: set[str]) -> list[Finding]:
    installed = _versions(options.installed)
    paths = options.paths or [Path()]
    files = python_files(paths, options.exclude)
    if not files:
        raise AuditError(f"no Python file in {', '.join(map(str, paths))}")
    return audit(files, selected, installed)


def _versions(given: Sequence[str]) -> dict[str, Version]:
    found = {}
    for one in given:
        name, _, number = one.partition("==")
        if name not in PACKAGES or not re.fullmatch(r"\d+(\.\d+)*", number):
            raise AuditError(f"--installed {one}: needs one of {', '.join(PACKAGES)}, and a version: fastapi==0.115.2")
        found[name] = version(number)
    return found


def selection(select: Sequence[str] | None, ignore: Sequence[str] | None) -> set[str]:
    """The ids of the rules that run. Raises AuditError for what is no rule and no group."""
    chosen = _ids(select) if select else set(RULES)
    if ignore:
        chosen -= _ids(ignore)
    if not chosen:
        raise AuditError("--select and --ignore leave no rule")
    return chosen


def _ids(given: Sequence[str], exact: bool = False) -> set[str]:
    found = set()
    for name in (part.strip().upper() for one in given for part in one.split(",") if part.strip()):
        matching = {one for one in RULES if one == name or (one.startswith(name) and not exact)}
        if not matching:
            raise AuditError(f"{name}: no such rule; --rules lists them")
        found |= matching
    if not found:
        raise AuditError("a rule is needed, such as FR201; --rules lists them")
    return found


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AuditError(f"--output {output}: {error.strerror}") from None
