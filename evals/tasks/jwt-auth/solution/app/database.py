"""Engine, session and the types and columns that all models share."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import Connection, DateTime, Dialect, MetaData, TypeDecorator, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.requests import HTTPConnection


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database; SQLite stores no zone and would give a naive one back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Named constraints, so that migrations can alter them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012


class Timestamps:
    """Set by the application: no refresh is needed after a flush."""

    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


def make_engine(url: str) -> AsyncEngine:
    """One engine for each process, made in the lifespan. `url` names an async driver: postgresql+asyncpg://."""
    # hide_parameters: else errors and logs hold the bound values, such as password hashes.
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    if make_url(url).get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": 30}, **options)
        event.listen(engine.sync_engine, "connect", _enforce_foreign_keys)
        event.listen(engine.sync_engine, "savepoint", _begin_before_savepoint)
        return engine
    # Connections in all: workers * (pool_size + max_overflow); keep that below the server's max_connections.
    options |= {"pool_size": 10, "max_overflow": 10, "pool_timeout": 10, "pool_recycle": 1800}
    engine = create_async_engine(url, **options)
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def make_sessionmaker(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    # expire_on_commit would make every attribute read after a commit fail in async code.
    return async_sessionmaker(engine, expire_on_commit=False)


async def get_session(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """One transaction a request: committed when the endpoint returns, rolled back when it raises."""
    sessionmaker: async_sessionmaker[AsyncSession] = connection.app.state.sessionmaker
    async with sessionmaker() as session, session.begin():
        yield session


# scope="function" commits before the answer is sent. With the default scope a client reads a 201 first, and keeps it
# when the commit fails.
DB = Annotated[AsyncSession, Depends(get_session, scope="function")]


def _connect(dialect: Any, _: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    """asyncpg lets the OSError of a server that is down through; as a database error it becomes a 503."""
    if dialect.driver == "asyncpg":
        keywords.setdefault("timeout", 10)
    try:
        return dialect.connect(*arguments, **keywords)
    except OSError as error:
        raise dialect.loaded_dbapi.OperationalError("the database can't be reached") from error


def _enforce_foreign_keys(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_before_savepoint(connection: Connection, _: str) -> None:
    """The driver opens no transaction for SAVEPOINT, so that its release would commit."""
    driver: Any = connection.connection.driver_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")
