"""A table with a rule of each kind, and answers that don't fit: it shows what constraints and errors promise."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, func
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from .constraints import declared_error
from .database import DB, Base
from .errors import Conflict, Invalid, NotFound, problems
from .fields import In, Out, text

router = APIRouter(prefix="/rules", responses=problems(409, 422))

# Apart, so that the source lines of a traceback do not hold the value.
ODD = "-of-the-row"
Name = Annotated[str, text(1, 50)]


class NameTaken(Conflict):
    code, default_detail = "name_taken", "You have a rule of this name"


class LabelTaken(Conflict):
    code, default_detail = "label_taken", "This label is in use"


class TooMany(Invalid):
    code, default_detail = "too_many", "At most 99"


class Rule(Base):
    __tablename__ = "rules"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(String(50))
    name: Mapped[str] = mapped_column(String(50))
    label: Mapped[str | None] = mapped_column(String(50))
    slug: Mapped[str | None] = mapped_column(String(50), unique=True)
    amount: Mapped[int] = mapped_column(default=1)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("rules.id"))

    __table_args__ = (
        UniqueConstraint("owner", "name", info={"error": NameTaken}),
        CheckConstraint("amount < 100", name="amount_bounded", info={"error": TooMany}),
        CheckConstraint("amount > -100", name="amount_is_no_debt"),
        Index("ix_rules_lower_label", func.lower(label), unique=True, info={"error": LabelTaken}),
    )


class RuleIn(In):
    owner: Name = "ann"
    name: Name
    label: Name | None = None
    slug: Name | None = None
    amount: int = 1
    parent_id: int | None = None


class RuleOut(Out):
    id: int
    name: str


@router.post("", status_code=201)
async def create(body: RuleIn, db: DB) -> RuleOut:
    rule = Rule(**body.model_dump())
    db.add(rule)
    await db.flush()
    return RuleOut.model_validate(rule)


@router.post("/at-commit", status_code=201)
async def create_at_commit(body: RuleIn, db: DB) -> None:
    db.add(Rule(**body.model_dump()))


@router.post("/first-free-name", status_code=201)
async def create_with_a_free_name(body: RuleIn, db: DB) -> RuleOut:
    """The name, or the name with a sign behind it where that is taken."""
    try:
        async with db.begin_nested():
            rule = Rule(**body.model_dump())
            db.add(rule)
    except IntegrityError as error:
        if declared_error(error, Base.metadata) is not NameTaken:
            raise
        rule = Rule(**body.model_dump() | {"name": f"{body.name}'"})
        db.add(rule)
        await db.flush()
    return RuleOut.model_validate(rule)


@router.get("/misfit/answer")
async def misfit() -> RuleOut:
    answer: Any = {"id": f"hunter2{ODD}", "name": "x"}
    return answer  # type: ignore[no-any-return]


@router.get("/misfit/model")
async def misfit_model() -> RuleOut:
    return RuleOut.model_validate({"id": f"hunter2{ODD}", "name": "x"})


@router.get("/group")
async def group() -> None:
    """An error out of a task group arrives inside an ExceptionGroup."""

    async def find() -> None:
        raise NotFound

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(find())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


@router.get("/stream", response_class=StreamingResponse)
async def stream() -> AsyncIterator[bytes]:
    yield b"begun"
    raise NotFound


ENDED: list[str] = []


@router.get("/background")
async def background(tasks: BackgroundTasks) -> list[str]:
    """The tasks that have ended since the last call."""

    async def fail() -> None:
        raise NotFound

    async def succeed() -> None:
        ENDED.append("second")

    tasks.add_task(fail)
    tasks.add_task(succeed)
    return ENDED


@router.websocket("/socket/{when}")
async def socket(websocket: WebSocket, when: str, number: int = 0) -> None:
    if when == "before":
        raise NotFound
    await websocket.accept()
    raise NotFound
