"""Projects, and the tasks that are made in them."""

import uuid

from fastapi import APIRouter, Response
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from .database import DB
from .errors import Conflict, NotFound, problems
from .etag import send_etag
from .models import Project, Task
from .pagination import Page, Paging, fetch_page
from .schemas import ProjectIn, ProjectOut, ProjectPatch, TaskIn, TaskOut

router = APIRouter(prefix="/projects", tags=["projects"])


@router.post("", status_code=201, responses=problems(409))
async def create_project(body: ProjectIn, db: DB, response: Response) -> ProjectOut:
    project = Project(**body.model_dump())
    db.add(project)
    await flush_name(db)
    set_committed_value(project, "task_count", 0)
    response.headers["Location"] = f"/projects/{project.id}"
    return ProjectOut.model_validate(project)


@router.get("")
async def list_projects(page: Paging, db: DB) -> Page[ProjectOut]:
    projects, total = await fetch_page(db, select(Project).order_by(Project.created_at, Project.id), page)
    return Page(items=[ProjectOut.model_validate(project) for project in projects], total=total)


@router.get("/{project_id}", responses=problems(404))
async def read_project(project_id: uuid.UUID, db: DB) -> ProjectOut:
    project = await db.get(Project, project_id)
    if project is None:
        raise NotFound
    return ProjectOut.model_validate(project)


@router.patch("/{project_id}", responses=problems(404, 409))
async def change_project(project_id: uuid.UUID, body: ProjectPatch, db: DB) -> ProjectOut:
    project = await db.get(Project, project_id, with_for_update={"of": Project})
    if project is None:
        raise NotFound
    for name, value in body.model_dump().items():
        setattr(project, name, value)
    await flush_name(db)
    return ProjectOut.model_validate(project)


@router.delete("/{project_id}", status_code=204, responses=problems(404))
async def delete_project(project_id: uuid.UUID, db: DB) -> None:
    """Its tasks go with it: the database cascades, so none can slip in between."""
    gone = await db.scalar(delete(Project).where(Project.id == project_id).returning(Project.id))
    if gone is None:
        raise NotFound


@router.post("/{project_id}/tasks", status_code=201, tags=["tasks"], responses=problems(404))
async def create_task(project_id: uuid.UUID, body: TaskIn, db: DB, response: Response) -> TaskOut:
    # Waits for a deletion under way; without the lock the foreign key would refuse the task afterwards.
    project = select(Project.id).where(Project.id == project_id).with_for_update(read=True, key_share=True)
    if await db.scalar(project) is None:
        raise NotFound
    task = Task(project_id=project_id, **body.model_dump(exclude={"tags"}))
    task.set_tags(body.tags)
    db.add(task)
    await db.flush()
    response.headers["Location"] = f"/tasks/{task.id}"
    send_etag(response, task.version)
    return TaskOut.model_validate(task)


async def flush_name(db: AsyncSession) -> None:
    """The unique constraint decides: a look before the write would miss a name that is being taken now."""
    try:
        await db.flush()
    except IntegrityError:
        raise Conflict("There is a project of that name") from None
