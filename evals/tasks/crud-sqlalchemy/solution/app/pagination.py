"""Limit and offset with bounds, and the page that answers them."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")


class PageQuery(BaseModel):
    """Subclass it for filters and a `Literal` sort. No extra="forbid": it would reject sibling query parameters."""

    limit: int = Field(default=50, ge=1, le=100)
    offset: int = Field(default=0, ge=0, le=2**31 - 1)


Paging = Annotated[PageQuery, Query()]


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int


async def fetch_page(db: AsyncSession, query: Select[Any], page: PageQuery) -> tuple[Sequence[Any], int]:
    """The rows of one page and the count of all. End `order_by` with a unique column, else rows repeat or get lost."""
    total = await db.scalar(select(func.count()).select_from(query.order_by(None).subquery()))
    rows = await db.scalars(query.limit(page.limit).offset(page.offset))
    return rows.all(), total or 0
