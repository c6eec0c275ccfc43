import secrets
from pathlib import Path

import psycopg
import pytest
import rig
from psycopg import sql

from harness import postgres
from harness.postgres import Database, PostgresError

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(params=[True, False], ids=["confined", "unconfined"])
def cluster(request, graders):
    return graders[request.param].cluster


@pytest.fixture
def database(cluster):
    made = cluster.create()
    yield made
    cluster.drop(made)


def as_role(cluster, role, name=None, password=None):
    return psycopg.connect(
        host=str(cluster.folder), user=role.name, password=password or role.password, dbname=name or role.name,
        autocommit=True,
    )  # fmt: skip


def test_a_role_owns_its_database_which_is_empty(cluster, database):
    with as_role(cluster, database) as connection:
        assert connection.execute("select count(*) from information_schema.tables where table_schema = 'public'"
                                  ).fetchone() == (0,)  # fmt: skip
        connection.execute("create schema more")
        connection.execute("create table more.notes (id int)")


def test_a_role_reaches_no_other_database(cluster, database):
    another = cluster.create()
    try:
        for name in (another.name, "postgres", "template1", postgres.TEMPLATE):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                as_role(cluster, database, name)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            as_role(cluster, another, password=database.password)
    finally:
        cluster.drop(another)


def test_a_role_is_no_administrator(cluster, database):
    with as_role(cluster, database) as connection:
        for statement in (
            "create role x", "create database x", "copy (select 1) to program 'id'",
            "select pg_read_file('/etc/passwd')",
            "alter system set fsync = on", "create extension dblink", "set role grader", "select * from pg_authid",
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'grader'",
            "select * from _grader.pg_stat_statements",
        ):  # fmt: skip
            with pytest.raises(psycopg.Error):
                connection.execute(statement).fetchall()


def test_dropping_takes_every_database_of_the_role_whoever_is_connected(cluster):
    made = cluster.create()
    with cluster.connect() as admin:
        second = postgres.create(admin, owner=made.name)
    with as_role(cluster, made) as first, as_role(cluster, made, second.name):
        cluster.drop(made)
        with pytest.raises(psycopg.OperationalError):
            first.execute("select 1")
    with cluster.connect() as admin:
        found = admin.execute("select 1 from pg_database where datname = any(%s)", ([made.name, second.name],))
        assert found.fetchall() == []
        assert admin.execute("select 1 from pg_roles where rolname = %s", (made.name,)).fetchall() == []


def test_the_cluster_listens_on_its_socket_only(cluster):
    with cluster.connect() as admin:
        assert admin.execute("show listen_addresses").fetchone() == ("",)
    assert cluster.socket.is_socket()
    assert cluster.folder.stat().st_mode & 0o77 == 0


def test_a_database_is_told_as_a_url():
    assert Database("g_1", "word").url(5432) == "postgresql+asyncpg://g_1:word@127.0.0.1:5432/g_1"


@pytest.fixture
def short():
    # A Unix socket's path has no room for pytest's folders.
    place = Path("/tmp") / f"t{secrets.token_hex(3)}"
    place.mkdir(mode=0o755)
    yield place
    place.rmdir()


def test_a_password_with_any_character_is_quoted(cluster, database):
    with cluster.connect() as admin:
        query = sql.SQL("alter role {} password {}").format(sql.Identifier(database.name), sql.Literal("o'b\\x"))
        admin.execute(query)
    as_role(cluster, database, password="o'b\\x").close()


@pytest.mark.parametrize("confined", [True, False])
def test_a_cluster_that_can_not_start_says_why(monkeypatch, short, confined):
    monkeypatch.setitem(postgres.OPTIONS, "max_connections", "none")
    said = r"(?s)PostgreSQL did not start: .*max_connections"
    with pytest.raises(PostgresError, match=said), postgres.cluster(short / "pg", confined=confined):
        pass
    assert list(short.iterdir()) == []


def test_a_cluster_that_can_not_be_made_says_why(monkeypatch, short):
    monkeypatch.setattr(postgres, "SUPERUSER", "pg_reserved")
    with pytest.raises(PostgresError, match=r"initdb failed: .*pg_"), postgres.cluster(short / "pg", confined=True):
        pass
    assert list(short.iterdir()) == []


def test_a_cluster_that_does_not_end_is_killed(short):
    before = rig.running()
    with postgres.cluster(short / "pg", confined=True) as made:
        held = made.connect()
        assert held.execute("select 1").fetchone() == (1,)
    assert rig.newcomers(before) == {}
    held.close()
    assert list(short.iterdir()) == []
