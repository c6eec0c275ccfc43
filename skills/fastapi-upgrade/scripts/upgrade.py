#!/usr/bin/env python3
"""Say where code and the installed versions of FastAPI, Starlette, Pydantic, SQLAlchemy and httpx don't fit.

It reads versions and code, runs nothing of the project, and prints only what this code uses. `# upgrade: ignore[NAME]`
at the end of a line leaves one out.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

# A skill may be installed where nothing should be written.
sys.dont_write_bytecode = True

from upgrading.code import read_code  # noqa: E402
from upgrading.differences import Difference, differences  # noqa: E402
from upgrading.installed import Installed, UpgradeError, here, of_interpreter  # noqa: E402

SHOWN = 5


def report(found: Sequence[Difference], installed: Installed, files: int) -> Iterator[str]:
    """The versions, where their own skill is, and a paragraph for each difference."""
    yield ", ".join(f"{name} {version}" for name, version in installed.versions.items())
    if installed.skill:
        yield f"syntax of the installed FastAPI: {installed.skill}"
    for each in found:
        rule = each.rule
        verb = {"breaks": "breaks", "changed": "behaves otherwise", "warns": "warns", "needs": "needs"}[rule.kind]
        yield f"{verb}, {rule.package} {rule.since} [{rule.name}]: {rule.says}. Mend: {rule.mend}"
        more = f" and {len(each.places) - SHOWN} more" if len(each.places) > SHOWN else ""
        yield f"    {' '.join(each.places[:SHOWN])}{more}"
    yield f"{len(found)} differences in {files} files" if found else f"no differences in {files} files"


def as_json(found: Sequence[Difference], installed: Installed) -> str:
    listed = [{key: value for key, value in asdict(each.rule).items() if key not in ("test", "also")} for each in found]
    for entry, each in zip(listed, found, strict=True):
        entry["places"] = each.places
    skill = str(installed.skill) if installed.skill else None
    return json.dumps({"installed": installed.versions, "skill": skill, "differences": listed}, indent=2)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(
        description=about, epilog="Exit codes: 0 no differences, 1 some, 2 wrong use or unreadable code."
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, default=[Path()], metavar="PATH", help="files or folders: app tests"
    )
    parser.add_argument("--python", help="the interpreter of the project: .venv/bin/python; else this one")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    try:
        installed = of_interpreter(given.python) if given.python else here()
        if "fastapi" not in installed.versions:
            where = given.python or sys.executable
            raise UpgradeError(f"{where} has no FastAPI; name the project's own: --python .venv/bin/python")
        code = read_code(given.paths)
        found = differences(code, installed)
    except UpgradeError as error:
        print(f"upgrade.py: {error}", file=sys.stderr)
        return 2
    print(as_json(found, installed) if given.json else "\n".join(report(found, installed, len(code.modules))))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
