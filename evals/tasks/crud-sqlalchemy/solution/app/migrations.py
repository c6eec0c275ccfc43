"""`alembic upgrade head` at start, safe with several workers."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from .schema import schema_lock

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the schema to the newest revision, all of it in one transaction under the lock.

    What can't run in a transaction (CREATE INDEX CONCURRENTLY) belongs into a deployment step: `alembic upgrade head`.
    """
    # Imported here, as it takes a while and only the start needs it.
    from alembic.config import Config

    config = Config()
    # The connection is handed over, so that no URL with a % in its password goes through configparser.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    async with schema_lock(engine) as connection:
        await connection.run_sync(_upgrade, config)


def _upgrade(connection: Connection, config: "Config") -> None:
    from alembic import command

    config.attributes["connection"] = connection
    command.upgrade(config, "head")
