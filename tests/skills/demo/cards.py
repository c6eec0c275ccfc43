"""A resource with a list to search and sort, and with versions: it shows what listing and etag promise."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from .database import DB, Base
from .errors import NotFound, problems
from .etag import IfMatch, check_if_match, send_etag
from .fields import In, Out, text
from .listing import contains_text, order_by
from .pagination import Page, PageQuery, fetch_page

router = APIRouter(prefix="/cards", responses=problems(404, 412))

Title = Annotated[str, text(1, 50)]


class Card(Base):
    __tablename__ = "cards"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    due: Mapped[date | None]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class CardIn(In):
    title: Title
    due: date | None = None


class CardOut(Out):
    id: int
    title: str
    due: date | None


class CardQuery(PageQuery):
    q: Annotated[str, text(0, 50)] = ""
    sort: Literal["due", "-due", "title", "-title"] = "due"


@router.post("", status_code=201)
async def create(body: CardIn, db: DB) -> CardOut:
    card = Card(**body.model_dump())
    db.add(card)
    await db.flush()
    return CardOut.model_validate(card)


@router.get("")
async def index(wanted: Annotated[CardQuery, Query()], db: DB) -> Page[CardOut]:
    columns = {"due": Card.due, "title": Card.title}
    query = select(Card).where(contains_text(Card.title, wanted.q)).order_by(*order_by(wanted.sort, columns, Card.id))
    cards, total = await fetch_page(db, query, wanted)
    return Page(items=[CardOut.model_validate(card) for card in cards], total=total)


@router.get("/{card_id}")
async def show(card_id: int, db: DB, response: Response) -> CardOut:
    card = await db.get(Card, card_id)
    if card is None:
        raise NotFound
    send_etag(response, card.version)
    return CardOut.model_validate(card)


@router.put("/{card_id}")
async def change(card_id: int, body: CardIn, db: DB, response: Response, if_match: IfMatch = None) -> CardOut:
    card = await db.get(Card, card_id, with_for_update=True)
    if card is None:
        raise NotFound
    check_if_match(if_match, card.version)
    card.title, card.due = body.title, body.due
    await db.flush()
    send_etag(response, card.version)
    return CardOut.model_validate(card)
