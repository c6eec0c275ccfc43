"""Tasks: list, read, change, delete."""

import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.exc import StaleDataError

from .database import DB, utc_now
from .errors import Conflict, NotFound, PreconditionFailed, problems
from .etag import IfMatch, check_if_match, send_etag
from .listing import contains_text, order_by
from .models import Tag, Task
from .pagination import Page, fetch_page
from .schemas import TaskOut, TaskPatch, TaskQuery

router = APIRouter(prefix="/tasks", tags=["tasks"])

SORTABLE = {"created_at": Task.created_at, "due_date": Task.due_date, "priority": Task.priority}


@router.get("")
async def list_tasks(wanted: Annotated[TaskQuery, Query()], db: DB) -> Page[TaskOut]:
    tasks, total = await fetch_page(db, matching(wanted), wanted)
    return Page(items=[TaskOut.model_validate(task) for task in tasks], total=total)


@router.get("/{task_id}", responses=problems(404))
async def read_task(task_id: uuid.UUID, db: DB, response: Response) -> TaskOut:
    task = await find_task(db, task_id)
    send_etag(response, task.version)
    return TaskOut.model_validate(task)


@router.patch("/{task_id}", responses=problems(404, 409, 412))
async def change_task(
    task_id: uuid.UUID, body: TaskPatch, db: DB, response: Response, if_match: IfMatch = None
) -> TaskOut:
    task = await find_task(db, task_id, lock=True)
    check_if_match(if_match, task.version)
    changes = body.model_dump()
    if "tags" in changes and changes["tags"] != list(task.tags):
        task.set_tags(changes["tags"])
        # Tags are rows of another table: a column of the task must change too for a new version.
        task.updated_at = utc_now()
    changes.pop("tags", None)
    for name, value in changes.items():
        setattr(task, name, value)
    try:
        await db.flush()
    except StaleDataError:
        # Only where the database has no row locks (SQLite).
        raise (PreconditionFailed if if_match else Conflict) from None
    send_etag(response, task.version)
    return TaskOut.model_validate(task)


@router.delete("/{task_id}", status_code=204, responses=problems(404))
async def delete_task(task_id: uuid.UUID, db: DB) -> None:
    if await db.scalar(delete(Task).where(Task.id == task_id).returning(Task.id)) is None:
        raise NotFound


async def find_task(db: AsyncSession, task_id: uuid.UUID, *, lock: bool = False) -> Task:
    query = select(Task).where(Task.id == task_id).options(selectinload(Task.labels))
    task = await db.scalar(query.with_for_update() if lock else query)
    if task is None:
        raise NotFound
    return task


def matching(wanted: TaskQuery) -> Select[Any]:
    """The tasks of a list, in order, with their tags."""
    query = select(Task).options(selectinload(Task.labels)).order_by(*order_by(wanted.sort, SORTABLE, Task.id))
    if wanted.status is not None:
        query = query.where(Task.status == wanted.status)
    if wanted.priority is not None:
        query = query.where(Task.priority == wanted.priority)
    if wanted.project_id is not None:
        query = query.where(Task.project_id == wanted.project_id)
    if wanted.q:
        query = query.where(contains_text(Task.title, wanted.q))
    if wanted.tag is not None:
        query = query.where(Task.labels.any(Tag.name == wanted.tag))
    return query
