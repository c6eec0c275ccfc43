"""The nouns. Frozen values without I/O; every other module speaks in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Kind(StrEnum):
    """What a check is about. The headline figures are made from `functional` and `security`."""

    FUNCTIONAL = "functional"
    SECURITY = "security"
    ROBUSTNESS = "robustness"
    PERFORMANCE = "performance"
    DOCS = "docs"


class Outcome(StrEnum):
    """What became of a check. `missing` means that it did not report: never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """One hidden test of a task, as task.yaml declares it."""

    name: str
    kind: Kind
    proves: str
    cwe: int | None = None


@dataclass(frozen=True)
class Mutant:
    """The solution with one named fault; exactly the checks in `caught_by` must fail on it."""

    name: str
    file: str
    find: str
    replace: str
    caught_by: frozenset[str]


@dataclass(frozen=True)
class Limits:
    """What a graded service may use. Seconds and mebibytes."""

    start_s: float = 30.0
    checks_s: float = 90.0
    memory_mb: int = 1024
    processes: int = 64
    disk_mb: int = 256


@dataclass(frozen=True)
class Task:
    """A folder under evals/tasks/, read and found whole."""

    name: str
    folder: Path
    title: str
    difficulty: str
    exercises: tuple[str, ...]
    instruction: str
    limits: Limits
    services: tuple[str, ...]
    environment: Mapping[str, str]
    checks: tuple[Check, ...]
    mutants: tuple[Mutant, ...]

    @property
    def starter(self) -> Path:
        return self.folder / "starter"

    @property
    def solution(self) -> Path:
        return self.folder / "solution"

    @property
    def checks_folder(self) -> Path:
        return self.folder / "checks"


@dataclass(frozen=True)
class Exchange:
    """One request of a check and its answer, cut to a readable size."""

    method: str
    url: str
    request: str
    status: int
    response: str


@dataclass(frozen=True)
class CheckResult:
    """What one check said. `message` is for people and empty when it passed."""

    name: str
    kind: Kind
    outcome: Outcome
    message: str = ""
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class Grade:
    """The results of all checks of a task for one workspace. Every expected check is present.

    `start_seconds` is the part of `seconds` until the service took connections, database and sandboxes included.
    """

    checks: tuple[CheckResult, ...]
    seconds: float = 0.0
    start_seconds: float = 0.0
    log: str = ""
    error: str | None = None

    def failing(self) -> frozenset[str]:
        return frozenset(check.name for check in self.checks if check.outcome is not Outcome.PASSED)

    def _all_pass(self, *kinds: Kind) -> bool:
        mine = [check for check in self.checks if check.kind in kinds]
        return bool(mine) and all(check.outcome is Outcome.PASSED for check in mine)

    @property
    def passed(self) -> bool:
        return self._all_pass(Kind.FUNCTIONAL)

    @property
    def secure_passed(self) -> bool:
        return self.passed and self._all_pass(Kind.FUNCTIONAL, Kind.SECURITY)

    @property
    def score(self) -> float:
        """Share of checks passed, 0 to 1."""
        if not self.checks:
            return 0.0
        return sum(check.outcome is Outcome.PASSED for check in self.checks) / len(self.checks)


@dataclass(frozen=True)
class Usage:
    """What a trial consumed. Tokens count every model call, subagents included; cost is at list price."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Status(StrEnum):
    """How a trial ended. Everything but `completed` and `limit` is infrastructure and never a score."""

    COMPLETED = "completed"
    LIMIT = "limit"
    AGENT_NOT_LOADED = "agent_not_loaded"
    SUBAGENT_FAILED = "subagent_failed"
    API_FAILED = "api_failed"
    CLI_FAILED = "cli_failed"
    SCRIPT_FAILED = "script_failed"
    GRADER_FAILED = "grader_failed"

    @property
    def counts(self) -> bool:
        return self in (Status.COMPLETED, Status.LIMIT)


@dataclass(frozen=True)
class Work:
    """What an agent did with a workspace."""

    status: Status
    usage: Usage = Usage()
    seconds: float = 0.0
    error: str | None = None
    transcript: tuple[Mapping[str, Any], ...] = ()
    skills_loaded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """One agent on one task, once."""

    task: str
    arm: str
    number: int
    status: Status
    grade: Grade | None
    usage: Usage = Usage()
    seconds: float = 0.0
    error: str | None = None
    skills_loaded: tuple[str, ...] = field(default=())
