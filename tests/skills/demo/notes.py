"""Two resources that make the core blocks show what they promise."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from limits.aio.strategies import RateLimiter
from pydantic import Field, SecretStr
from sqlalchemy import CheckConstraint, ForeignKey, String, select
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from .database import DB, Base, Timestamps
from .errors import Conflict, NotFound, problems
from .fields import Email, In, Moment, Out, text
from .pagination import Page, Paging, fetch_page
from .rate_limit import RateLimit, make_limiter

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/notes", tags=["notes"], responses=problems(404, 422))

Title = Annotated[str, text(1, 50)]


class Note(Timestamps, Base):
    __tablename__ = "notes"
    __table_args__ = (CheckConstraint("stars < 100", name="stars_bounded"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50), unique=True)
    stars: Mapped[int] = mapped_column(default=0)
    due: Mapped[datetime | None]


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("notes.id"), index=True)


class NoteIn(In):
    title: Title
    body: Annotated[str, text(0, 100, lines=True)] = ""
    email: Email | None = None
    password: Annotated[SecretStr, Field(min_length=8)] | None = None
    stars: int = 0
    due: Moment | None = None


class NoteOut(Out):
    id: int
    title: str
    stars: int
    due: datetime | None
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=201)
async def create(body: NoteIn, db: DB) -> NoteOut:
    note = Note(title=body.title, stars=body.stars, due=body.due)
    db.add(note)
    await db.flush()
    return NoteOut.model_validate(note)


@router.get("")
async def index(page: Paging, db: DB, starred: bool | None = None) -> Page[NoteOut]:
    query = select(Note).order_by(Note.title)
    if starred:
        query = query.where(Note.stars > 0)
    rows, total = await fetch_page(db, query, page)
    return Page[NoteOut](items=[NoteOut.model_validate(row) for row in rows], total=total)


@router.get("/{note_id}")
async def show(note_id: int, db: DB) -> NoteOut:
    note = await db.get(Note, note_id)
    if note is None:
        raise NotFound
    return NoteOut.model_validate(note)


@router.patch("/{note_id}")
async def star(note_id: int, db: DB) -> NoteOut:
    note = await db.get_one(Note, note_id)
    note.stars += 1
    await db.flush()
    return NoteOut.model_validate(note)


@router.post("/{note_id}/comments", status_code=201)
async def comment(note_id: int, db: DB) -> None:
    db.add(Comment(note_id=note_id))


@router.post("/rolled-back")
async def rolled_back(body: NoteIn, db: DB) -> None:
    db.add(Note(title=body.title))
    await db.flush()
    raise Conflict("on purpose")


@router.post("/twice", status_code=201)
async def twice(body: NoteIn, db: DB) -> None:
    """The second insert fails inside a savepoint; then the whole request does."""
    db.add(Note(title=body.title))
    await db.flush()
    try:
        async with db.begin_nested():
            db.add(Note(title=body.title))
    except IntegrityError:
        log.info("second insert refused")
    raise Conflict("on purpose")


@router.post("/savepoint", status_code=201)
async def savepoint(body: NoteIn, db: DB) -> None:
    """What a savepoint released goes with the request, when that fails."""
    async with db.begin_nested():
        db.add(Note(title=body.title))
    raise Conflict("on purpose")


@router.get("/fails/{word}")
async def fails(word: str) -> None:
    raise RuntimeError(f"secret-of-the-server {word}")


@router.get("/fails/sql/{word}")
async def fails_in_sql(word: str, db: DB) -> None:
    await db.execute(sql("select * from nothing where word = :word"), {"word": word})


@router.get("/logs/{token}")
async def logs(token: str, q: str = "") -> None:
    log.info("searching", q=q)


@router.post("/bytes", max_body_size=20_000)
async def count(request: Request) -> int:
    return len(await request.body())


@router.post("/small")
async def count_small(request: Request) -> int:
    return len(await request.body())


LIMITERS: dict[str, RateLimiter] = {}


def use_storage(request: Request, storage: str = "async+memory://") -> None:
    """In place of the lifespan; `storage` lets a test take the server away."""
    request.app.state.limiter = LIMITERS.setdefault(storage, make_limiter(storage))


limited = APIRouter(dependencies=[Depends(use_storage), Depends(RateLimit("limited", "3/minute"))])


@limited.get("/limited/few")
async def few() -> None:
    """Three a minute."""


router.include_router(limited)
