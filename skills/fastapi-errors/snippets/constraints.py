"""Words of its own for each constraint: the error stands beside the rule, in the model.

    class NameTaken(Conflict):
        code, default_detail = "name_taken", "You have a note of this name"

    class Note(Base):
        __table_args__ = (
            UniqueConstraint("owner_id", "name", info={"error": NameTaken}),
            CheckConstraint("stars < 100", name="stars_bounded", info={"error": TooManyStars}),
        )

In `create_app`, after `add_error_handlers(app)`: `add_constraint_answers(app, Base.metadata)`. Constraints without
`info` are answered as before. So are foreign keys on SQLite, which does not say which one it was.
"""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy import Constraint, Index, MetaData, UniqueConstraint
from sqlalchemy.exc import IntegrityError

from .errors import AppError, problem

# SQLite names a check by its name and a unique constraint by its columns.
_SQLITE_CHECK = re.compile(r"CHECK constraint failed: (.+)")
_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)")
_SQLITE_INDEX = re.compile(r"index '(.+)'")


def add_constraint_answers(app: FastAPI, metadata: MetaData) -> None:
    """Answer violations of the constraints that name an error; leave the others to the handler that is there."""
    others: Any = app.exception_handlers[IntegrityError]

    @app.exception_handler(IntegrityError)
    async def answer(request: Request, error: IntegrityError) -> Response:
        declared = declared_error(error, metadata)
        if declared is None:
            answered: Response = await others(request, error)
            return answered
        return problem(declared.status, declared.code, declared.default_detail)


def declared_error(error: IntegrityError, metadata: MetaData) -> type[AppError] | None:
    """The error that the violated constraint names. For `except IntegrityError` around a savepoint, too."""
    violated = violated_constraint(error, metadata)
    for rule in _rules(metadata):
        if rule.name is not None and str(rule.name) == violated:
            declared: type[AppError] | None = rule.info.get("error")
            return declared
    return None


def violated_constraint(error: IntegrityError, metadata: MetaData) -> str | None:
    """Its name, the same on PostgreSQL (asyncpg, psycopg) and SQLite; None if the driver does not tell."""
    named = getattr(error.orig.__cause__, "constraint_name", None) if error.orig else None
    diagnostics = getattr(error.orig, "diag", None)
    if name := named or getattr(diagnostics, "constraint_name", None):
        return str(name)
    words = str(error.orig)
    if found := _SQLITE_CHECK.fullmatch(words):
        return found[1]
    if found := _SQLITE_UNIQUE.fullmatch(words):
        return _unique_name(found[1], metadata)
    return None


def _unique_name(told: str, metadata: MetaData) -> str | None:
    """Of `notes.owner_id, notes.name`, or of `index 'lowered_name'` for one over expressions."""
    if found := _SQLITE_INDEX.fullmatch(told):
        return found[1]
    for rule in _rules(metadata):
        if isinstance(rule, UniqueConstraint) or (isinstance(rule, Index) and rule.unique):
            columns = ", ".join(f"{column.table.name}.{column.name}" for column in rule.columns)
            if columns == told:
                return str(rule.name)
    return None


def _rules(metadata: MetaData) -> Iterator[Constraint | Index]:
    for table in metadata.tables.values():
        yield from table.constraints
        yield from table.indexes
