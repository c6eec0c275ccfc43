"""Keyset pages: each starts behind the last row of the one before, so that deep pages cost what the first one costs.

NEWEST = Keyset("newest", (Note.created_at, Note.id), descending=True)

@router.get("")
async def index(page: Annotated[KeysetQuery, Query()], db: DB, user: CurrentUser) -> KeysetPage[NoteOut]:
    notes, cursor = await NEWEST.fetch(db, select(Note).where(Note.owner_id == user.id), page)
    return KeysetPage(items=[NoteOut.model_validate(note) for note in notes], next_cursor=cursor)
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Select, String, TypeDecorator, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from .errors import Invalid
from .fields import Moment

T = TypeVar("T")

MAX_CURSOR = 4096
# Longer texts would make cursors that no URL holds.
MAX_TEXT = 255

# What a driver takes of each type: a cursor is input, whoever made it.
_STORABLE: dict[type, Any] = {
    int: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)],
    str: Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")],
    float: Annotated[float, Field(allow_inf_nan=False)],
    Decimal: Annotated[Decimal, Field(allow_inf_nan=False, max_digits=38)],
    datetime: Moment,
}


class KeysetQuery(BaseModel):
    """Subclass it for filters. A cursor fits the sort that it was made with; filters may not change between pages."""

    limit: int = Field(default=50, ge=1, le=100)
    cursor: Annotated[str, Field(description="`next_cursor` of the page before", max_length=MAX_CURSOR)] | None = None


class KeysetPage(BaseModel, Generic[T]):
    items: list[T]
    # None on the last page.
    next_cursor: str | None


@dataclass(frozen=True)
class Keyset:
    """A total order of one table's rows. Make it at module level; a wrong one raises ValueError there.

    `name` tells orders apart: a cursor of another one is refused. All columns run in one direction, which lets the
    database compare them as one row value, along one index over just these columns.
    """

    name: str
    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False

    def __post_init__(self) -> None:
        columns = [attribute.expression for attribute in self.columns]
        for column in columns:
            if column.nullable:
                raise ValueError(f"{column}: rows without a value would be on no page")
            if isinstance(column.type, String) and not 0 < (column.type.length or 0) <= MAX_TEXT:
                raise ValueError(f"{column}: only texts of at most {MAX_TEXT} characters make a cursor")
        key = {column.name for column in columns[-1].table.primary_key}
        if not (columns[-1].unique or key <= {column.name for column in columns}):
            raise ValueError(f"{columns[-1]}: the last column must be unique, or rows repeat or get lost")

    async def fetch(self, db: AsyncSession, query: Select[Any], page: KeysetQuery) -> tuple[Sequence[Any], str | None]:
        """The rows of one page and the cursor of the next. `query` selects the entity, filtered and not yet ordered."""
        if page.cursor is not None:
            query = query.where(self._behind(page.cursor))
        query = query.order_by(*(column.desc() if self.descending else column.asc() for column in self.columns))
        # One more than asked for tells whether there is a next page, without counting.
        rows = (await db.scalars(query.limit(page.limit + 1))).all()
        if len(rows) <= page.limit:
            return rows, None
        return rows[: page.limit], self._cursor(rows[page.limit - 1])

    def _cursor(self, row: Any) -> str:
        values = (self.name, *(getattr(row, column.key) for column in self.columns))
        return base64.urlsafe_b64encode(self._adapter.dump_json(values)).decode().rstrip("=")

    def _behind(self, cursor: str) -> ColumnElement[bool]:
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
            _, *values = self._adapter.validate_json(raw)
        except (binascii.Error, ValidationError, ValueError):
            raise Invalid("This cursor belongs to no page of this list") from None
        here = tuple_(*self.columns)
        last = tuple_(
            *(literal(value, column.expression.type) for value, column in zip(values, self.columns, strict=True))
        )
        return here < last if self.descending else here > last

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        types = (Literal[self.name], *(_value_type(column) for column in self.columns))
        return TypeAdapter(tuple[types])  # type: ignore[valid-type]


def _value_type(column: InstrumentedAttribute[Any]) -> Any:
    kind = column.expression.type
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return _STORABLE.get(kind.python_type, kind.python_type)
