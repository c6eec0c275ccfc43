"""What must not grow, and who must not wait. Counts and ratios only."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
from answers import expect
from people import Commits, Person, Together

COMMIT_S = 0.3


def test_a_longer_list_needs_no_more_queries(newcomer: Callable[..., Person], statements: Callable[[], int]) -> None:
    eve = newcomer()
    counts = []
    for rows in (1, 5):
        for _ in range(rows):
            eve.keep()
        before = statements()
        eve.listed(limit=50)
        counts.append(statements() - before)
    assert counts[1] <= counts[0] + 1, f"a list of 1 file takes {counts[0]} queries, one of 6 takes {counts[1]}"


def test_a_slow_database_holds_nobody_up(
    newcomer: Callable[..., Person], stranger: httpx.Client, together: Together, slow_commits: Commits
) -> None:
    """While uploads wait for the database, they don't wait for each other, nor does anybody wait for them."""
    people = [newcomer() for _ in range(4)]
    rounds = []
    for _ in range(3):
        with slow_commits(COMMIT_S):
            *uploads, other = together([*(uploading(person) for person in people), asking(stranger)])
        rounds.append((max(uploads) / min(uploads), other / COMMIT_S))
        if rounds[-1][0] < 2.5 and rounds[-1][1] < 0.6:
            return
    assert min(last for last, _ in rounds) < 2.5, f"of four uploads at once the last takes {rounds} times as long"
    assert min(other for _, other in rounds) < 0.6, f"a request that needs nothing waits for an upload: {rounds}"
    raise AssertionError(f"either uploads or other requests wait: {rounds}")


def timed(call: Callable[[], httpx.Response], status: int) -> float:
    begun = time.perf_counter()
    expect(call(), status)
    return time.perf_counter() - begun


def uploading(person: Person) -> Callable[[], float]:
    return lambda: timed(lambda: person.send(b"text"), 201)


def asking(stranger: httpx.Client) -> Callable[[], float]:
    """The longest of requests that are sent while the others wait."""

    def ask() -> float:
        deadline = time.perf_counter() + COMMIT_S
        longest = 0.0
        while time.perf_counter() < deadline:
            longest = max(longest, timed(lambda: stranger.get("/files"), 401))
            time.sleep(0.05)
        return longest

    return ask
