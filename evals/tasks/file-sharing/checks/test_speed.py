"""What must not grow, and who must not wait. Counts and ratios only."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
from answers import expect
from people import Commits, Person, Together


def test_a_longer_list_needs_no_more_queries(newcomer: Callable[..., Person], statements: Callable[[], int]) -> None:
    eve = newcomer()
    counts = []
    for rows in (2, 6):
        for _ in range(rows):
            eve.keep()
        eve.listed(limit=50)
        before = statements()
        eve.listed(limit=50)
        counts.append(statements() - before)
    assert counts[1] <= counts[0] + 1, f"a list of 2 files takes {counts[0]} queries, one of 8 takes {counts[1]}"


def test_uploads_don_t_wait_for_each_other(
    newcomer: Callable[..., Person], together: Together, slow_commits: Commits
) -> None:
    people = [newcomer() for _ in range(4)]

    def upload(person: Person) -> Callable[[], httpx.Response]:
        return lambda: person.send(b"text")

    ratios = []
    with slow_commits(0.15):
        for _ in range(2):
            begun = time.perf_counter()
            expect(upload(people[0])(), 201)
            alone = time.perf_counter() - begun
            for answer in together([upload(person) for person in people]):
                expect(answer, 201)
            ratios.append((time.perf_counter() - begun - alone) / alone)
            if ratios[-1] < 2.5:
                break
    assert min(ratios) < 2.5, f"four uploads at once take {min(ratios):.1f} times as long as one"


def test_a_slow_upload_holds_nobody_up(
    ann: Person, stranger: httpx.Client, together: Together, slow_commits: Commits
) -> None:
    def timed(call: Callable[[], httpx.Response], delay: float = 0) -> Callable[[], float]:
        def run() -> float:
            time.sleep(delay)
            begun = time.perf_counter()
            expect(call(), 201, 401)
            return time.perf_counter() - begun

        return run

    ratios = []
    for _ in range(3):
        with slow_commits(0.3):
            upload, probe = together([timed(lambda: ann.send(b"text")), timed(lambda: stranger.get("/files"), 0.1)])
        ratios.append(probe / upload)
        if ratios[-1] < 0.4:
            break
    assert min(ratios) < 0.4, (
        f"while an upload is stored, a request that needs nothing takes {min(ratios):.0%} of that time"
    )
