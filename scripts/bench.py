"""What the harness and the pack cost. Prints; asserts nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evals"))

from benchmarks import harness, measure, pack

MEASUREMENTS = {
    "overhead": harness.overhead,
    "start": harness.start,
    "audit": pack.audit,
    "hook": pack.hook,
    "assemble": pack.assemble,
    "tokens": pack.tokens,
    "eval": harness.evaluate,
    "prove": harness.prove,
}


def main(wanted: list[str]) -> None:
    if unknown := [name for name in wanted if name not in MEASUREMENTS]:
        sys.exit(f"scripts/bench: {unknown[0]} is not one of {', '.join(MEASUREMENTS)}")
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, medians of {measure.ROUNDS}", flush=True)
    for name in wanted or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
