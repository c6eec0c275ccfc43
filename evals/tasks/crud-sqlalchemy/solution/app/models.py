"""The tables."""

import uuid
from datetime import date
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, func, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from .database import Base, Timestamps


class Status(StrEnum):
    TODO = "todo"
    DOING = "doing"
    DONE = "done"


class Tag(Base):
    """One tag of a task. A table of its own: an exact filter that an index serves, on every database."""

    __tablename__ = "task_tags"

    task_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(50), index=True)


class Task(Timestamps, Base):
    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("priority BETWEEN 1 AND 5", name="priority"),
        CheckConstraint("status IN ('todo', 'doing', 'done')", name="status"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    project_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(10), default=Status.TODO)
    priority: Mapped[int] = mapped_column(default=3)
    due_date: Mapped[date | None]
    # Every UPDATE checks and raises it; a concurrent one raises StaleDataError.
    version: Mapped[int] = mapped_column(default=1)

    # lazy="raise": a query that forgets to load the tags fails in every test, not only with many rows.
    labels: Mapped[list[Tag]] = relationship(
        order_by=Tag.position, cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )
    tags: AssociationProxy[list[str]] = association_proxy("labels", "name")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    def set_tags(self, names: list[str]) -> None:
        self.labels = [Tag(position=position, name=name) for position, name in enumerate(names)]


class Project(Timestamps, Base):
    __tablename__ = "projects"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    description: Mapped[str | None]

    # Counted by the query that reads the project: one statement however many projects.
    task_count: Mapped[int] = column_property(
        select(func.count()).where(Task.project_id == id).correlate_except(Task).scalar_subquery(),
        expire_on_flush=False,
    )
