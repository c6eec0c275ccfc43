"""For tests: what a piece of code asks the database.

with count_queries(engine) as counted:
    await client.get("/notes")
assert counted.total <= 3, counted
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass
class Counted:
    """The statements in their order, without their values. Printed, it lists the most frequent first."""

    statements: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.statements)

    @property
    def repeated(self) -> dict[str, int]:
        """Statements that ran more than once: the mark of one query for each row."""
        return {statement: times for statement, times in Counter(self.statements).items() if times > 1}

    def __str__(self) -> str:
        lines = (f"{times} x {statement}" for statement, times in Counter(self.statements).most_common())
        return "\n".join([f"{self.total} statements", *lines])


@contextmanager
def count_queries(engine: AsyncEngine) -> Iterator[Counted]:
    """Count what all sessions of this engine execute. Nothing else may use it meanwhile. COMMIT doesn't count."""
    counted = Counted()

    def note(_: Any, __: Any, statement: str, ___: Any, ____: Any, _____: bool) -> None:
        counted.statements.append(" ".join(statement.split()))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield counted
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)
