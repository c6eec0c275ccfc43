"""The schema at start, for apps without migrations, and the lock that lets several workers start at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .database import Base

LOCK = 7_331_225


@asynccontextmanager
async def schema_lock(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One transaction that only one process has at a time: all of the change happens, or nothing."""
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            async with _sqlite_lock(connection):
                yield connection
            return
        async with connection.begin():
            # A statement_timeout of the role is meant for requests, not for the wait and the change.
            await connection.execute(text("set local statement_timeout = 0"))
            await connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield connection


@asynccontextmanager
async def _sqlite_lock(connection: AsyncConnection) -> AsyncIterator[None]:
    # Altering a table on SQLite means dropping the old one, which with foreign keys on would delete the rows that refer
    # to it. The pragma works outside a transaction only.
    await connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    await connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
        await connection.commit()
    except BaseException:
        await connection.rollback()
        raise
    finally:
        await connection.exec_driver_sql("PRAGMA foreign_keys=ON")


async def prepare_schema(engine: AsyncEngine) -> None:
    """Create what is missing. It changes no existing table: use migrations.py once a release is out."""
    async with schema_lock(engine) as connection:
        await connection.run_sync(Base.metadata.create_all)
