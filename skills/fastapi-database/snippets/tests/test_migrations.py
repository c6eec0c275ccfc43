import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi import FastAPI
from sqlalchemy import Connection

from app.database import Base
from app.migrations import upgrade

pytestmark = pytest.mark.anyio


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


async def test_the_migrations_make_what_the_models_need(app: FastAPI) -> None:
    async with app.state.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_second_start_changes_nothing(app: FastAPI) -> None:
    await upgrade(app.state.engine)
    async with app.state.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
