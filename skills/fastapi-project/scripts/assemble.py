#!/usr/bin/env python3
"""Copy building blocks with all that they need into a package, and wire them into its app.

A block is a module in the `snippets` folder of a skill beside this one. What it needs is read from its relative
imports; what imports can't show stands in `snippets/blocks.json`. A new package gets a whole app with tests and a
pyproject.toml. A package that was assembled before is extended. Any other one gets the modules, and is told what its
app has to do for them.

Nothing that differs from what was assembled is overwritten without --force.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# A skill may be installed where nothing should be written.
sys.dont_write_bytecode = True

from assembly.blocks import AssemblyError, Library, expand, read_library  # noqa: E402
from assembly.install import install, next_migration  # noqa: E402
from assembly.plan import Plan, find_place, make_plan  # noqa: E402

SKILLS = Path(__file__).resolve().parents[2]


def report(plan: Plan, *, dry: bool) -> Iterator[str]:
    """What was done, one line for each kind of change and folder."""
    place = plan.place
    yield f"{place.root}: package {place.name}{' (dry run: nothing is written)' if dry else ''}"
    for kind in ("new", "updated", "replaced", "kept"):
        folders: dict[Path, list[str]] = {}
        for change in plan.changes:
            if change.kind == kind:
                folders.setdefault(change.path.parent, []).append(change.path.name)
        for folder, names in folders.items():
            yield f"  {kind:8} {os.path.relpath(folder, place.root)}/: {' '.join(names)}"
    if not any(change.writes for change in plan.changes):
        yield "  nothing to do: all of it is there"
    yield from (f"  {hint}" if not hint.startswith(("+", "-", "@", " ")) else hint for hint in plan.hints)
    if plan.whole:
        yield f"  required environment: {' '.join(name.upper() for name in plan.wired.required)}"
        yield "  next: python -m pytest -q"


def listing(library: Library) -> Iterator[str]:
    yield "names for several blocks:"
    yield from (f"  {name:18} {' '.join(members)}" for name, members in sorted(library.names.items()))
    skill = ""
    for block in sorted(library.blocks.values(), key=lambda block: (block.skill, block.name)):
        if block.skill != skill:
            skill = block.skill
            yield f"{skill}:"
        yield f"  {block.name:18} {block.source.about}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=about, epilog="Exit codes: 0 done, 2 wrong use.")
    parser.add_argument("target", nargs="?", type=Path, metavar="TARGET", help="the package's folder: app, src/shop")
    parser.add_argument("--with", dest="wanted", action="append", default=[], metavar="NAME,...", help="blocks by name")
    parser.add_argument("--list", action="store_true", help="show the blocks and stop")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and write nothing")
    parser.add_argument(
        "--wire", action="store_true", help="add the wiring to an app or conftest that was changed, too"
    )
    parser.add_argument("--force", action="store_true", help="replace files that were changed (pyproject.toml never)")
    parser.add_argument("--skills", type=Path, default=SKILLS, help="the folder that holds the skills")
    given = parser.parse_args(arguments)
    if not given.list and given.target is None:
        parser.error("which package? assemble.py --with NAME,... TARGET")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    # As an exception, so that what was begun is taken back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        library = read_library(given.skills)
        if given.list:
            print("\n".join(listing(library)))
            return 0
        wanted = expand(library, [name for names in given.wanted for name in names.split(",") if name.strip()])
        plan = make_plan(library, wanted, find_place(given.target), force=given.force, wire=given.wire)
        if not given.dry_run:
            install(plan)
    except (AssemblyError, OSError, UnicodeDecodeError) as error:
        print(f"assemble.py: {error}", file=sys.stderr)
        return 2
    print("\n".join(report(plan, dry=given.dry_run)))
    if not given.dry_run:
        for line in next_migration(plan):
            print(f"  {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
