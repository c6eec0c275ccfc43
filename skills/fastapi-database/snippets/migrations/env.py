"""Run by alembic: with the connection of `upgrade`, or on the command line with DATABASE_URL.

No logging is configured here; the app's stays as it is.
"""

import asyncio
import os
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from app import application  # noqa: F401  imports the routers and so every model
from app.database import Base, UtcDateTime, make_engine
from app.schema import schema_lock


def render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Keep the app's own types out of migrations, which must run when the app has moved on."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=render_item,
        # SQLite alters a table by making a new one.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_on_command_line() -> None:
    engine = make_engine(os.environ["DATABASE_URL"])
    # PostgreSQL: alembic's own transaction, which a migration may leave (CREATE INDEX CONCURRENTLY).
    opened = schema_lock(engine) if engine.dialect.name == "sqlite" else engine.connect()
    async with opened as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(url=os.environ["DATABASE_URL"], target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif given := context.config.attributes.get("connection"):
    run(given)
else:
    asyncio.run(run_on_command_line())
