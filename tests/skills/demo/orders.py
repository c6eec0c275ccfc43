"""A resource whose POST may be sent again, and whose list goes on behind the last row: idempotency and keyset."""

import asyncio
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field
from sqlalchemy import Numeric, String, select
from sqlalchemy.orm import Mapped, mapped_column

from .database import DB, Base, Timestamps
from .errors import Conflict, problems
from .fields import In, Out, text
from .idempotency import Once, OnceRequired
from .keyset import Keyset, KeysetPage, KeysetQuery

router = APIRouter(prefix="/orders", responses=problems(409, 422))

Caller = Annotated[str, Header(alias="X-User")]
Item = Annotated[str, text(1, 50)]


class Order(Timestamps, Base):
    __tablename__ = "orders"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    item: Mapped[str] = mapped_column(String(50))
    amount: Mapped[int] = mapped_column(default=1)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(1))


class OrderIn(In):
    item: Item
    amount: int = 1
    price: Annotated[Decimal, Field(max_digits=12, decimal_places=2)] = Decimal(1)
    pause_s: float = 0


class OrderOut(Out):
    id: uuid.UUID
    item: str
    amount: int
    price: Decimal
    created_at: datetime


ORDERS = {
    "newest": Keyset("newest", (Order.created_at, Order.id), descending=True),
    "item": Keyset("item", (Order.item, Order.id)),
    "amount": Keyset("amount", (Order.amount, Order.item, Order.id)),
    "price": Keyset("price", (Order.price, Order.id), descending=True),
}


class OrderQuery(KeysetQuery):
    sort: Literal["newest", "item", "amount", "price"] = "newest"


async def add(body: OrderIn, caller: str, db: DB) -> OrderOut:
    order = Order(owner=caller, item=body.item, amount=body.amount, price=body.price)
    db.add(order)
    await db.flush()
    await asyncio.sleep(body.pause_s)
    if body.item == "refused":
        raise Conflict("on purpose")
    return OrderOut.model_validate(order)


@router.post("", status_code=201)
async def create(body: OrderIn, caller: Caller, db: DB, once: Once, response: Response) -> OrderOut:
    made = await once(db, caller, OrderOut, lambda: add(body, caller, db))
    response.headers["Location"] = f"/orders/{made.id}"
    return made


@router.post("/paid", status_code=201)
async def pay(body: OrderIn, caller: Caller, db: DB, once: OnceRequired) -> OrderOut:
    return await once(db, caller, OrderOut, lambda: add(body, caller, db))


Released = Annotated[bool, Header()]


class OrderOutLater(OrderOut):
    added_by_a_release: int


@router.post("/later", status_code=201)
async def later(body: OrderIn, caller: Caller, db: DB, once: Once, released: Released = False) -> OrderOut:
    return await once(db, caller, OrderOutLater if released else OrderOut, lambda: add(body, caller, db))


@router.get("")
async def index(caller: Caller, wanted: Annotated[OrderQuery, Query()], db: DB) -> KeysetPage[OrderOut]:
    rows, cursor = await ORDERS[wanted.sort].fetch(db, select(Order).where(Order.owner == caller), wanted)
    return KeysetPage(items=[OrderOut.model_validate(row) for row in rows], next_cursor=cursor)
