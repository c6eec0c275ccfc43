"""What clients send and get."""

import uuid
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import MISSING, Field

from .fields import In, Out, text
from .models import Status
from .pagination import PageQuery

Name = Annotated[str, text(1, 100)]
Description = Annotated[str, text(0, 10_000, lines=True)]
Title = Annotated[str, text(1, 200)]
Priority = Annotated[int, Field(ge=1, le=5)]
TagName = Annotated[str, text(1, 50)]
Tags = Annotated[list[TagName], Field(max_length=50)]
Sort = Literal["created_at", "-created_at", "due_date", "-due_date", "priority", "-priority"]


class ProjectIn(In):
    name: Name
    description: Description | None = None


class ProjectPatch(In):
    """What is left out stays; null is accepted only where the column may be empty."""

    name: Name | MISSING = MISSING
    description: Description | MISSING | None = MISSING


class ProjectOut(Out):
    id: uuid.UUID
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    task_count: int


class TaskIn(In):
    title: Title
    status: Status = Status.TODO
    priority: Priority = 3
    due_date: date | None = None
    tags: Tags = Field(default_factory=list)


class TaskPatch(In):
    """What is left out stays; null is accepted only where the column may be empty."""

    title: Title | MISSING = MISSING
    status: Status | MISSING = MISSING
    priority: Priority | MISSING = MISSING
    due_date: date | MISSING | None = MISSING
    tags: Tags | MISSING = MISSING


class TaskOut(Out):
    id: uuid.UUID
    project_id: uuid.UUID
    title: str
    status: Status
    priority: int
    due_date: date | None
    tags: list[str]
    created_at: datetime
    updated_at: datetime


class TaskQuery(PageQuery):
    status: Status | None = None
    priority: Priority | None = None
    project_id: uuid.UUID | None = None
    q: Annotated[str, text(0, 200)] | None = None
    tag: TagName | None = None
    sort: Sort = "-created_at"
