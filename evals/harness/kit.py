"""The fixtures that checks may use, and the pytest run around them. Lives in the room of a grading."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest

from harness.service import Process

if TYPE_CHECKING:
    import psycopg

    from harness.room import Room, Verdict

T = TypeVar("T")
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TIMEOUT_S = 10.0
KEPT_ALIVE_S = 2.0
SHOWN = 2000
LARGEST_ANSWER = 64 << 20
BOOKKEEPING = (
    r"^\s*(begin|commit|rollback|savepoint|release|start transaction"
    r"|set|reset|show|discard|deallocate|close|unlisten)\y"
)
CATALOG = r"pg_catalog|pg_type|pg_range|pg_attribute|pg_class|pg_advisory|current_schema|version\(\)"

TRAP = """
create table if not exists _grader.trap (seconds double precision not null, refuse boolean not null);
delete from _grader.trap;
insert into _grader.trap values (0, false);
create or replace function _grader.at_commit() returns trigger language plpgsql security definer as $$
declare mode _grader.trap;
begin
  select * into mode from _grader.trap;
  if mode.seconds > 0 then perform pg_sleep(mode.seconds); end if;
  if mode.refuse then raise exception 'commit refused' using errcode = '40001'; end if;
  return null;
end $$;
do $$
declare t regclass;
begin
  for t in select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind = 'r' and n.nspname not in ('_grader', 'pg_catalog', 'information_schema', 'pg_toast')
             and not exists (select from pg_trigger g where g.tgrelid = c.oid and g.tgname = '_grader_at_commit')
  loop
    execute format('create constraint trigger _grader_at_commit after insert or update or delete on %s
                    deferrable initially deferred for each row execute function _grader.at_commit()', t);
  end loop;
end $$;
"""


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    method: str
    url: str
    request_body: bytes
    status: int
    headers: httpx.Headers
    body: bytes

    def shown(self) -> dict[str, Any]:
        """Cut to a readable size, for reports."""

        def text(data: bytes) -> str:
            return data[:SHOWN].decode(errors="replace")

        return {
            "method": self.method,
            "url": self.url,
            "request": text(self.request_body),
            "status": self.status,
            "response": text(self.body),
        }


class Client(httpx.Client):
    """An httpx client that notes every exchange whose answer was read whole."""

    def __init__(self, base_url: str, address: str, exchanges: list[Exchange], **options: Any) -> None:
        self._exchanges = exchanges
        self.address = address
        headers = {"user-agent": BROWSER, **options.pop("headers", {})}
        # verify=False: loopback HTTP only, and loading certificates would cost more than the checks.
        # Shorter than any server's own patience, which would otherwise end a connection in the middle of a request.
        limits = httpx.Limits(keepalive_expiry=KEPT_ALIVE_S)
        transport = httpx.HTTPTransport(local_address=address, verify=False, limits=limits)
        settings = {"timeout": TIMEOUT_S, "trust_env": False, **options}
        super().__init__(base_url=base_url, transport=transport, headers=headers, **settings)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        response = super().send(request, **{**options, "stream": True})
        if options.get("stream"):
            return response
        try:
            sent = request.content
        except httpx.RequestNotRead:
            sent = b"(streamed)"
        body = _read(response)
        if response.is_server_error:
            # Servers close the connection after an unhandled error, a moment later: a next request must not use it.
            self._transport.close()
        self._exchanges.append(
            Exchange(request.method, str(request.url), sent, response.status_code, response.headers, body)
        )
        return response


def _read(response: httpx.Response) -> bytes:
    """What `response.read()` does, but an answer without end must not fill the memory of the room."""
    body = bytearray()
    with closing(response):
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LARGEST_ANSWER:
                raise httpx.ReadError(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB", request=response.request)
    response._content = bytes(body)  # httpx has no public way to hand a read body back
    return response.content


@dataclass(frozen=True)
class Service:
    """What a check may know of the service under test."""

    url: str
    env: dict[str, str]
    data: Path
    workspace: Path
    log: Callable[[], str]
    another: Callable[..., AbstractContextManager[Service]]


class Kit:
    """A pytest plugin: the fixtures, and the reporter of what each check said."""

    def __init__(self, room: Room, service: Process, verdict: Verdict) -> None:
        self._room = room
        self._process = service
        self._verdict = verdict
        self._exchanges: list[Exchange] = []
        self._addresses = (f"127.1.{high}.{low}" for high in range(256) for low in range(2, 250))
        self._names = (f"another-{number}" for number in itertools.count(1))
        self._admin: psycopg.Connection[tuple[Any, ...]] | None = None
        self._begun = 0
        self.not_loaded: list[str] = []

    # ------------------------------------------------------------------ reporting
    def pytest_runtest_logstart(self) -> None:
        self._begun = len(self._exchanges)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_")
        if report.passed and report.when != "call":
            return
        outcome = "passed" if report.passed and not hasattr(report, "wasxfail") else "failed"
        message = "" if outcome == "passed" else self._message(report)
        shown = [] if outcome == "passed" else [e.shown() for e in self._exchanges[self._begun :][-4:]]
        self._verdict.add(name, outcome, message, shown)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.not_loaded.append(f"{report.nodeid}: {report.longrepr}")

    def _message(self, report: pytest.TestReport) -> str:
        if report.skipped:
            return "the check was skipped, which is not a pass"
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash is not None else str(report.longrepr)
        problem = self._process.problem()
        return text[:SHOWN] + (f"\n({problem})" if problem else "")

    # ------------------------------------------------------------------ fixtures
    @pytest.fixture(scope="session")
    def service(self) -> Service:
        return self._service(self._process)

    def _service(self, process: Process) -> Service:
        launch = process.launch
        return Service(
            url=f"http://127.0.0.1:{launch.port}",
            env=dict(launch.environment),
            data=launch.data,
            workspace=launch.workspace,
            log=process.log.text,
            another=self._another,
        )

    @contextmanager
    def _another(
        self, workers: int = 1, env: dict[str, str] | None = None, database: str = "same"
    ) -> Iterator[Service]:
        name = None
        if database == "fresh":
            name = self._fresh_database() if self._room.plan.database else "fresh"
        launch = self._room.launch(next(self._names), workers=workers, environment=env or {}, database=name)
        process = Process(launch)
        try:
            problem = process.wait_ready()
            assert problem is None, f"a second service did not start: {problem}\n{process.log.text()[-1500:]}"
            yield self._service(process)
        finally:
            process.stop()

    def _fresh_database(self) -> str:
        from harness import postgres

        known = self._database()
        with postgres.connect(known["folder"], known["password"], "postgres") as admin:
            return postgres.create(admin, owner=known["role"]).name

    @pytest.fixture(scope="session")
    def connect(self) -> Iterator[Callable[..., Client]]:
        with ExitStack() as stack:

            def connect(address: str | None = None, base_url: str | None = None, **options: Any) -> Client:
                url = base_url or f"http://127.0.0.1:{self._process.launch.port}"
                made = Client(url, address or next(self._addresses), self._exchanges, **options)
                stack.callback(made.close)
                return made

            yield connect

    @pytest.fixture
    def client(self, connect: Callable[..., Client]) -> Client:
        return connect()

    @pytest.fixture(scope="session")
    def together(self) -> Callable[[Sequence[Callable[[], T]]], list[T]]:
        def together(calls: Sequence[Callable[[], T]]) -> list[T]:
            start = threading.Barrier(len(calls))

            def run(call: Callable[[], T]) -> T:
                start.wait(TIMEOUT_S)
                return call()

            with ThreadPoolExecutor(len(calls)) as pool:
                return list(pool.map(run, calls))

        return together

    @pytest.fixture(scope="session")
    def exchanges(self) -> list[Exchange]:
        return self._exchanges

    # ------------------------------------------------------------------ the database, seen from behind
    def _database(self) -> dict[str, str]:
        known = self._room.plan.database
        assert known is not None, "this grading has no PostgreSQL"
        return known

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._admin is None:
            from harness import postgres

            known = self._database()
            self._admin = postgres.connect(known["folder"], known["password"], known["name"])
            self._admin.execute("set lock_timeout = '5s'")
        return self._admin

    @pytest.fixture(scope="session")
    def sql(self) -> Callable[..., list[tuple[Any, ...]]]:
        def sql(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
            cursor = self._connection().execute(query, parameters or None)
            return cursor.fetchall() if cursor.description else []

        return sql

    @pytest.fixture(scope="session")
    def statements(self) -> Callable[[], int]:
        def statements() -> int:
            row = (
                self._connection()
                .execute(
                    "select coalesce(sum(calls), 0)::int from _grader.pg_stat_statements s"
                    " join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid"
                    " where d.datname = current_database() and r.rolname = %s and query !~* %s and query !~* %s",
                    (self._database()["role"], BOOKKEEPING, CATALOG),
                )
                .fetchone()
            )
            assert row is not None
            return int(row[0])

        return statements

    @contextmanager
    def _trap(self, seconds: float, *, refuse: bool) -> Iterator[None]:
        connection = self._connection()
        connection.execute(TRAP)
        connection.execute("update _grader.trap set seconds = %s, refuse = %s", (seconds, refuse))
        try:
            yield
        finally:
            connection.execute("update _grader.trap set seconds = 0, refuse = false")

    @pytest.fixture(scope="session")
    def slow_commits(self) -> Callable[..., AbstractContextManager[None]]:
        def slow_commits(seconds: float = 0.3) -> AbstractContextManager[None]:
            return self._trap(seconds, refuse=False)

        return slow_commits

    @pytest.fixture(scope="session")
    def refused_commits(self) -> Callable[[], AbstractContextManager[None]]:
        return lambda: self._trap(0, refuse=True)


class ChecksError(RuntimeError):
    """The checks can't be run, whatever the service does. Ends the room, so that no score is made of it."""


def run(room: Room, service: Process, verdict: Verdict) -> None:
    """Run all checks of the plan. What they say goes to `verdict`; pytest's own output goes to standard error."""
    checks = room.plan.checks
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(checks))
    arguments = [str(checks), f"--rootdir={checks}", f"--confcutdir={checks}", "-c", os.devnull, "-q", "--tb=short"]
    arguments += ["-p", "no:cacheprovider", "--import-mode=importlib", "--disable-warnings"]
    kit = Kit(room, service, verdict)
    status = pytest.main(arguments, plugins=[kit])
    if kit.not_loaded:
        raise ChecksError("the checks can't be loaded: " + "\n".join(kit.not_loaded)[-SHOWN // 2 :])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise ChecksError(f"the checks could not be run: pytest ended with {status!r}")
