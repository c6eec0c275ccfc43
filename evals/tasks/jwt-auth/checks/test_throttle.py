"""Failed logins are limited by account."""

import email.utils
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
from accounts import WRONG, Failures, Session, logged_in, new_account

Connect = Callable[..., httpx.Client]


def test_sixth_attempt_after_five_failures_is_429(failures: Failures) -> None:
    statuses = [answer.status_code for answer in failures.known]
    assert statuses == [401] * 5 + [429], f"six wrong logins of one account: {statuses}"


def test_answer_429_says_when_to_try_again(client: httpx.Client, failures: Failures) -> None:
    answer = logged_in(client, failures.account.email, WRONG)
    assert answer.status_code == 429, f"{answer.status_code} {answer.text}"
    said = answer.headers.get("retry-after", "")
    date = None if said.isdigit() else email.utils.parsedate_to_datetime(said) if said else None
    seconds = int(said) if said.isdigit() else date.timestamp() - time.time() if date else 0
    assert 0 < seconds <= 301, f"Retry-After: {said or 'nothing'}"


def test_throttled_account_refuses_the_right_password_too(client: httpx.Client, failures: Failures) -> None:
    answer = logged_in(client, failures.account.email, failures.account.password)
    assert answer.status_code == 429, f"guessing goes on, the right password is told: {answer.status_code}"


def test_throttle_follows_the_account_whatever_the_address(connect: Connect, failures: Failures) -> None:
    for _ in range(2):
        answer = logged_in(connect(), failures.account.email, WRONG)
        assert answer.status_code == 429, f"another address: {answer.status_code} {answer.text}"
    # 127.0.0.1 is what servers trust as a proxy by default.
    for address in ("127.0.0.1", None):
        forged = {"x-forwarded-for": "203.0.113.77", "x-real-ip": "203.0.113.77", "forwarded": "for=203.0.113.77"}
        answer = logged_in(connect(address), failures.account.email, WRONG, headers=forged)
        assert answer.status_code == 429, f"with X-Forwarded-For: {answer.status_code} {answer.text}"


def test_throttle_knows_an_account_in_any_letter_case(connect: Connect, failures: Failures) -> None:
    for name in (failures.account.email.upper(), failures.account.email.title()):
        answer = logged_in(connect(), name, WRONG)
        assert answer.status_code == 429, f"{name}: {answer.status_code} {answer.text}"


def test_throttle_leaves_other_accounts_alone(client: httpx.Client, failures: Failures, bob: Session) -> None:
    assert logged_in(client, failures.account.email, WRONG).status_code == 429, "nothing is throttled"
    answer = logged_in(client, bob.account.email, bob.account.password)
    assert answer.status_code == 200, f"another account, right password: {answer.status_code} {answer.text}"


def test_throttle_treats_unknown_accounts_alike(failures: Failures) -> None:
    statuses = [[answer.status_code for answer in answers] for answers in (failures.known, failures.unknown)]
    assert statuses[0] == statuses[1], (
        f"known account {statuses[0]}, unknown account {statuses[1]}: it tells which exist"
    )


def test_successful_logins_are_not_failures(connect: Connect) -> None:
    account = new_account(connect())
    statuses = [logged_in(connect(), account.email, account.password).status_code for _ in range(6)]
    assert statuses == [200] * 6, f"six right logins: {statuses}"


def test_failures_at_the_same_moment_all_count(
    connect: Connect,
    together: Callable[[list[Callable[[], httpx.Response]]], list[httpx.Response]],
    slow_commits: Callable[[float], AbstractContextManager[None]],
    spent: Session,
) -> None:
    clients = [connect() for _ in range(10)]
    with slow_commits(0.05):
        answers = together([lambda http=http: logged_in(http, spent.account.email, WRONG) for http in clients])
    assert {answer.status_code for answer in answers} <= {401, 429}, [answer.status_code for answer in answers]
    after = logged_in(connect(), spent.account.email, spent.account.password)
    assert after.status_code == 429, f"after ten wrong logins at the same moment: {after.status_code}"


def test_throttle_is_shared_by_processes(failures: Failures, replica: Any, connect: Connect) -> None:
    there = connect(base_url=replica.url)
    answer = logged_in(there, failures.account.email, failures.account.password)
    assert answer.status_code == 429, f"a second process on the same database starts from zero: {answer.status_code}"
