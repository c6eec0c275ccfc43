"""What list endpoints need beside pages: an order that a client chooses, and a search that takes its text literally."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

Column = InstrumentedAttribute[Any] | ColumnElement[Any]


def order_by(sort: str, columns: Mapping[str, Column], unique: Column) -> tuple[ColumnElement[Any], ...]:
    """`-name` is descending. Empty values come last both ways; `unique` keeps equal rows apart on all pages.

    Give `sort` the type `Literal["name", "-name", ...]`: a client's text must never become SQL.
    """
    column = columns[sort.removeprefix("-")]
    if sort.startswith("-"):
        return column.desc().nulls_last(), unique.desc()
    return column.asc().nulls_last(), unique.asc()


def contains_text(column: Column, wanted: str) -> ColumnElement[bool]:
    """In any letter case (on SQLite of ASCII letters only); `%`, `_` and the escape character are taken literally."""
    return column.icontains(wanted, autoescape=True)
