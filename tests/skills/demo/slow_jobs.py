"""A job that leaves a mark at each attempt, then takes its time, and writes a note at its end."""

import asyncio
import os
from pathlib import Path

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from .database import DB
from .jobs import Claim, enqueue
from .notes import Note

router = APIRouter()


@router.post("/slow-jobs", status_code=202)
async def start(db: DB, fails: bool = False) -> None:
    await enqueue(db, "slow", {})
    if fails:
        raise RuntimeError


async def slow(db: AsyncSession, job: Claim) -> None:
    with Path(os.environ["MARKS"]).open("a") as marks:  # noqa: ASYNC230
        marks.write(f"{job.id} {job.attempt} {job.request_id}\n")
    await asyncio.sleep(float(os.environ["TAKES_S"]))
    db.add(Note(title="done"))
