"""What the blocks of fastapi-database promise, on SQLite and on PostgreSQL."""

import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest


def title() -> str:
    return f"note-{uuid.uuid4().hex}"


def titles(client) -> set[str]:
    return {note["title"] for note in client.get("/notes", params={"limit": 100}).json()["items"]}


@pytest.fixture
def on_postgres(notes, fresh_postgres) -> Iterator[tuple[Any, Any]]:
    database = fresh_postgres()
    with notes.serve(DATABASE_URL=database.url) as service:
        yield service, database


def test_answers_after_the_commit(on_postgres):
    service, database = on_postgres
    with service.client() as client:
        with database.on_commit("perform pg_sleep(0.3)"):
            start = time.monotonic()
            made = client.post("/notes", json={"title": title()})
            assert made.status_code == 201
            assert time.monotonic() - start >= 0.3
            assert client.get(f"/notes/{made.json()['id']}").status_code == 200
        with database.on_commit("raise exception 'refused'"):
            assert client.post("/notes", json={"title": title()}).status_code == 500


def test_error_rolls_back(client):
    name = title()
    assert client.post("/notes/rolled-back", json={"title": name}).status_code == 409
    assert client.post("/notes", json={"title": name}).status_code == 201


def test_savepoints_belong_to_the_request(client):
    name, other = title(), title()
    assert client.post("/notes/twice", json={"title": name}).status_code == 409
    assert client.post("/notes/savepoint", json={"title": other}).status_code == 409
    assert client.post("/notes", json={"title": name}).status_code == 201
    assert client.post("/notes", json={"title": other}).status_code == 201


def test_duplicate_is_a_conflict_also_in_a_race(service):
    name = title()

    def create(_: int) -> int:
        with service.client() as client:
            return int(client.post("/notes", json={"title": name}).status_code)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, range(6))) == [201, 409, 409, 409, 409, 409]
    assert name not in service.log()


def test_foreign_keys_are_enforced(client):
    assert client.post("/notes/999999/comments").status_code == 409


def test_value_the_database_refuses_is_no_server_error(client):
    for stars in (100, 2**40):
        assert client.post("/notes", json={"title": title(), "stars": stars}).status_code == 422
    assert client.get(f"/notes/{2**40}").status_code in (404, 422)


def test_bound_values_stay_out_of_answers_and_logs(client, service):
    word = f"hunter2-{uuid.uuid4().hex}"
    answer = client.get(f"/notes/fails/sql/{word}")
    assert answer.status_code in (500, 503)
    assert "nothing" not in answer.text
    (error,) = service.events(event="database error", request_id=answer.headers["x-request-id"])
    assert "select * from nothing" in error["exception"]
    assert word not in error["exception"]


def test_timestamps_are_the_same_utc_in_every_answer(client):
    made = client.post("/notes", json={"title": title(), "due": "2026-03-01T12:00:00+05:30"}).json()
    read = client.get(f"/notes/{made['id']}").json()
    assert read == made
    assert made["due"] == "2026-03-01T06:30:00Z"
    assert made["created_at"].endswith("Z")
    changed = client.patch(f"/notes/{made['id']}").json()
    assert changed["created_at"] == made["created_at"]
    assert changed["updated_at"] > made["updated_at"]
    assert client.get(f"/notes/{made['id']}").json() == changed


def test_two_workers_start_at_once_on_an_empty_database(notes, fresh_url):
    with notes.serve(workers=2, DATABASE_URL=fresh_url()) as service, service.client() as client:
        assert client.post("/notes", json={"title": title()}).status_code == 201
        assert '"level": "error"' not in service.log()


@pytest.fixture(scope="module")
def migrated(notes, tmp_path_factory, fresh_sqlite) -> Any:
    """The demo with migrations in place of create_all; the first one is written by alembic."""
    path = tmp_path_factory.mktemp("migrated") / "service"
    shutil.copytree(notes.path, path)
    workspace = type(notes)(path)
    workspace.replace("app/application.py", "from .schema import prepare_schema", "from .migrations import upgrade")
    workspace.replace("app/application.py", "await prepare_schema(", "await upgrade(")
    url = fresh_sqlite()
    workspace.check("-W", "error", "-m", "alembic", "revision", "--autogenerate", "-m", "notes", DATABASE_URL=url)
    (script,) = (path / "migrations" / "versions").glob("*.py")
    assert "sa.DateTime(timezone=True)" in script.read_text()
    assert "app." not in script.read_text()
    return workspace


def test_two_workers_migrate_at_once(migrated, fresh_url):
    url = fresh_url()
    with migrated.serve(workers=2, DATABASE_URL=url) as service, service.client() as client:
        made = client.post("/notes", json={"title": title()})
        assert made.status_code == 201
        assert service.events(event="request", request_id=made.headers["x-request-id"])
    checked = migrated.run("-m", "alembic", "check", DATABASE_URL=url)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_generated_migration_is_clean(migrated):
    migrated.check("-m", "ruff", "check", "--no-cache", "migrations")


def test_command_line_prints_sql(migrated, fresh_postgres):
    url = fresh_postgres().url
    out = migrated.check("-W", "error", "-m", "alembic", "upgrade", "head", "--sql", DATABASE_URL=url)
    assert "CREATE TABLE notes" in out


ALTER = '''"""Alter."""
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "zz", "{down}", None, None
def upgrade() -> None:
    {body}
'''
LONGER = """with op.batch_alter_table("notes") as table:
        table.alter_column("title", type_=sa.String(80))"""
CONCURRENTLY = """with op.get_context().autocommit_block():
        op.create_index("ix_notes_stars", "notes", ["stars"], postgresql_concurrently=True)"""
UPGRADE = """
import asyncio, os
from app.database import make_engine
from app.migrations import upgrade
async def main():
    engine = make_engine(os.environ["DATABASE_URL"])
    try:
        await upgrade(engine)
    finally:
        await engine.dispose()
asyncio.run(main())
"""


@pytest.fixture
def altered(migrated, tmp_path) -> Any:
    """A copy of `migrated`, and a function that adds a second migration to it."""
    shutil.copytree(migrated.path, tmp_path / "service")
    workspace = type(migrated)(tmp_path / "service")
    versions = workspace.path / "migrations" / "versions"
    (first,) = versions.glob("*.py")

    def alter(body: str) -> None:
        (versions / "zz.py").write_text(ALTER.format(down=first.name.partition("_")[0], body=body))

    return workspace, alter


START, COMMAND_LINE = ("-c", UPGRADE), ("-m", "alembic", "upgrade", "head")


@pytest.mark.parametrize("how", [START, COMMAND_LINE], ids=["start", "command-line"])
def test_altering_a_table_keeps_the_rows_that_refer_to_it(altered, fresh_sqlite, how):
    workspace, alter = altered
    url = fresh_sqlite()
    file = url.removeprefix("sqlite+aiosqlite:///")
    workspace.check("-W", "error", *how, DATABASE_URL=url)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("insert into notes values (1, 'x', 0, null, '2026-01-01', '2026-01-01')")
        database.execute("insert into comments values (1, 1)")
    alter(LONGER)
    workspace.check("-W", "error", *how, DATABASE_URL=url)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("select note_id from comments").fetchall() == [(1,)]
        assert "VARCHAR(80)" in database.execute("select sql from sqlite_master where name = 'notes'").fetchone()[0]


def test_failed_migration_leaves_nothing(altered, fresh_postgres):
    workspace, alter = altered
    database = fresh_postgres()
    alter('op.execute("select 1/0")')
    assert workspace.run(*START, DATABASE_URL=database.url).returncode == 1
    with database.connect() as admin:
        left = admin.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
    assert left == (0,)


def test_command_line_can_leave_the_transaction(altered, fresh_postgres):
    workspace, alter = altered
    database = fresh_postgres()
    alter(CONCURRENTLY)
    workspace.check("-W", "error", *COMMAND_LINE, DATABASE_URL=database.url)
    with database.connect() as admin:
        assert admin.execute("select count(*) from pg_indexes where indexname = 'ix_notes_stars'").fetchone() == (1,)
