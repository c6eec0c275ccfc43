"""A run's folder: what each trial left, written whole or not at all, and read back."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .model import CheckResult, Exchange, Grade, Kind, Outcome, Status, Trial, Usage, Work
from .room import copy

FORMAT = 1


class ResultsError(ValueError):
    """A run's folder that can't be used; the text says what to do."""


@dataclass(frozen=True)
class Store:
    """A folder with one folder a trial."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Store:
        """Make the folder. Raises ResultsError where one with results is there already."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            taken = any(folder.iterdir())
        except OSError as error:
            raise ResultsError(f"{folder}: {error.strerror}; give another folder with --out") from None
        if taken:
            raise ResultsError(f"{folder}: is not empty; give another folder with --out")
        return cls(folder)

    def save(self, trial: Trial, work: Work, workspace: Path) -> None:
        """Write a trial's folder under another name, then rename it: a killed run leaves none that is half written."""
        name = f"{trial.task}__{trial.arm}__{trial.number}"
        part = self.folder / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        if workspace.is_dir():
            with suppress(shutil.Error):  # what the agent made unreadable stays out; the rest is copied
                copy(workspace, part / "workspace")
        (part / "transcript.jsonl").write_text("".join(json.dumps(line) + "\n" for line in work.transcript))
        if trial.grade is not None:
            (part / "service.log").write_text(trial.grade.log, encoding="utf-8")
        (part / "trial.json").write_text(json.dumps(trial_document(trial, exchanges=True), indent=2) + "\n")
        part.replace(self.folder / name)

    def trials(self) -> list[Trial]:
        """Read every finished trial back, in a stable order."""
        found = sorted(self.folder.glob("*/trial.json"))
        return [_read(path) for path in found if not path.parent.name.startswith(".")]


def _read(path: Path) -> Trial:
    try:
        return read_trial(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path}: can't be read ({error!r}); remove its folder") from None


def trial_document(trial: Trial, *, exchanges: bool = False) -> dict[str, Any]:
    """One trial as JSON."""
    grade = trial.grade
    checks = grade.checks if grade else ()
    return {
        "task": trial.task,
        "arm": trial.arm,
        "number": trial.number,
        "status": trial.status,
        "pass": bool(grade and grade.passed),
        "secure_pass": bool(grade and grade.secure_passed),
        "check_score": grade.score if grade else 0.0,
        "checks": [check_document(check, exchanges=exchanges) for check in checks],
        "seconds": round(trial.seconds, 3),
        "grade_seconds": round(grade.seconds, 3) if grade else 0.0,
        "turns": trial.usage.turns,
        "tokens": trial.usage.tokens,
        "input_tokens": trial.usage.input_tokens,
        "output_tokens": trial.usage.output_tokens,
        "cost_usd": trial.usage.cost_usd,
        "skills_loaded": list(trial.skills_loaded),
        "error": trial.error or (grade.error if grade else None),
    }


def check_document(check: CheckResult, *, exchanges: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": check.name,
        "kind": check.kind,
        "outcome": check.outcome,
        "message": check.message,
    }
    if exchanges and check.exchanges:
        document["exchanges"] = [vars(exchange) for exchange in check.exchanges]
    return document


def read_trial(document: dict[str, Any]) -> Trial:
    """The inverse of `trial_document`; the service's log stays in its file."""
    checks = tuple(
        CheckResult(
            check["name"],
            Kind(check["kind"]),
            Outcome(check["outcome"]),
            check["message"],
            tuple(Exchange(**exchange) for exchange in check.get("exchanges", ())),
        )
        for check in document["checks"]
    )
    status = Status(document["status"])
    error = document["error"]
    return Trial(
        task=document["task"],
        arm=document["arm"],
        number=document["number"],
        status=status,
        grade=Grade(checks, document["grade_seconds"], error=error) if checks else None,
        usage=Usage(document["turns"], document["input_tokens"], document["output_tokens"], document["cost_usd"]),
        seconds=document["seconds"],
        error=error,
        skills_loaded=tuple(document["skills_loaded"]),
    )
