"""What grows, and what stands still. Only ratios and counts."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from accounts import (
    Account,
    Failures,
    Pioneers,
    Session,
    everybody,
    logged_in,
    new_account,
    new_email,
    new_password,
    page,
    registered,
)

Connect = Callable[..., httpx.Client]
Together = Callable[[list[Callable[[], Any]]], list[Any]]
Sql = Callable[..., list[tuple[Any, ...]]]
ROUNDS = 3
BETWEEN_PROBES_S = 0.004
# What is quicker than this stalls nobody.
SHORTEST_CALL_S = 0.02
LARGEST_STALL = 3
USERS = 12


def seconds(call: Callable[[], httpx.Response]) -> float:
    started = time.perf_counter()
    assert call().is_success
    return time.perf_counter() - started


def longest_wait(http: httpx.Client, together: Together, calls: list[Callable[[], Any]]) -> float:
    """The longest that a trivial request waits while the calls are under way."""
    running, pause = threading.Semaphore(0), threading.Event()
    waits: list[float] = []

    def counted(call: Callable[[], Any]) -> None:
        try:
            call()
        finally:
            running.release()

    def watch() -> None:
        left = len(calls)
        while left:
            waits.append(seconds(lambda: http.get("/healthz")))
            pause.wait(BETWEEN_PROBES_S)
            while running.acquire(blocking=False):
                left -= 1

    together([*(lambda call=call: counted(call) for call in calls), watch])
    return max(waits)


def stall(http: httpx.Client, together: Together, calls: list[Callable[[], Any]], once: float) -> float:
    """The longest wait in units of one call, in the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        found.append(longest_wait(http, together, calls) / once)
        if found[-1] < LARGEST_STALL:
            break
    return min(found)


def test_logins_do_not_stall_other_requests(
    connect: Connect, together: Together, failures: Failures, pioneers: Pioneers, carol: Session, grace: Account
) -> None:
    clients = [(connect(), one) for one in (*pioneers.accounts, carol.account, grace)]
    calls = [lambda http=http, one=one: logged_in(http, one.email, one.password) for http, one in clients]
    found = stall(connect(), together, calls, max(failures.cost_s, SHORTEST_CALL_S))
    assert found < LARGEST_STALL, f"while {len(calls)} people log in, /healthz waits as long as {found:.1f} logins take"


def test_registrations_do_not_stall_other_requests(connect: Connect, together: Together, failures: Failures) -> None:
    clients = [connect() for _ in range(5)]
    calls = [lambda http=http: registered(http, new_email(), new_password()) for http in clients]
    found = stall(connect(), together, calls, max(failures.cost_s, SHORTEST_CALL_S))
    assert found < LARGEST_STALL, (
        f"while {len(calls)} people register, /healthz waits as long as {found:.1f} logins take"
    )


def crowd(connect: Connect, admin: Session) -> int:
    """At least so many users that what is done for each of them shows."""
    http = connect()
    there_are = len(everybody(http, admin))
    for _ in range(there_are, USERS):
        new_account(connect())
    return max(there_are, USERS)


def test_statements_of_the_list_do_not_grow(
    client: httpx.Client, connect: Connect, admin: Session, statements: Callable[[], int]
) -> None:
    crowd(connect, admin)
    counts = []
    for limit in (1, USERS):
        before = statements()
        answer = page(client, admin, limit=limit)
        assert len(answer.json()["items"]) == limit, answer.text
        counts.append(statements() - before)
    assert counts[1] <= counts[0] + 2, f"{counts[0]} statements for 1 user, {counts[1]} for {USERS}"


def test_list_fetches_one_page_only(client: httpx.Client, connect: Connect, admin: Session, sql: Sql) -> None:
    total = crowd(connect, admin)

    def fetched() -> int:
        query = """select coalesce(sum(rows), 0)::int from _grader.pg_stat_statements s
            join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid
            where d.datname = current_database() and r.rolname <> current_user"""
        return int(sql(query)[0][0])

    before = fetched()
    answer = page(client, admin, limit=1)
    assert answer.status_code == 200, answer.text
    found = fetched() - before
    assert found < total, f"a page of 1 of {total} users fetches {found} rows from the database"
