"""What grows, and what stands still. Only ratios and counts."""

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
from accounts import (
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
Sql = Callable[..., list[tuple[Any, ...]]]
ROUNDS = 3
CALLS = 7
# Where the hash holds the loop, a request beside it waits for a third of the call and more; else for a tenth.
LARGEST_SHARE = 0.23
STALL = 6  # times what a request takes otherwise: the work of any other request beside it is no stall
PROBES = 15
USERS = 12


def asked(probe: httpx.Client) -> float:
    started = time.perf_counter()
    assert probe.get("/healthz").is_success
    return time.perf_counter() - started


def share_waited(probe: httpx.Client, call: Callable[[], httpx.Response], usual: float) -> float:
    """While `call` runs: the longest that a trivial request waits, as a share of the time that the call takes."""
    done = threading.Event()
    took: list[float] = []

    def timed() -> None:
        started = time.perf_counter()
        try:
            assert call().is_success
        finally:
            took.append(time.perf_counter() - started)
            done.set()

    worker = threading.Thread(target=timed)
    waits = [0.0]
    worker.start()
    while not done.is_set():
        waits.append(asked(probe))
    worker.join()
    return min(1.0, max(waits) / took[0]) if max(waits) > STALL * usual else 0.0


def usual_share(probe: httpx.Client, calls: list[Callable[[], httpx.Response]]) -> float:
    """The median over the calls, in the best of some rounds: a busy machine delays both, and single ones at random."""
    found = []
    for _ in range(ROUNDS):
        usual = statistics.median(asked(probe) for _ in range(PROBES))
        found.append(statistics.median(share_waited(probe, call, usual) for call in calls))
        if found[-1] < LARGEST_SHARE:
            break
    return min(found)


def test_logins_do_not_stall_other_requests(connect: Connect, carol: Session) -> None:
    http = connect()
    account = carol.account
    found = usual_share(connect(), [lambda: logged_in(http, account.email, account.password)] * CALLS)
    assert found < LARGEST_SHARE, f"/healthz waits for {found:.0%} of the time that a login takes"


def test_registrations_do_not_stall_other_requests(connect: Connect) -> None:
    http = connect()
    found = usual_share(connect(), [lambda: registered(http, new_email(), new_password())] * CALLS)
    assert found < LARGEST_SHARE, f"/healthz waits for {found:.0%} of the time that a registration takes"


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
