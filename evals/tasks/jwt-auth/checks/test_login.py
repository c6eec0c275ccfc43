"""POST /auth/login."""

import math
import re
from collections.abc import Callable

import httpx
from accounts import WRONG, Account, Failures, Session, logged_in, me, new_account, new_email

Connect = Callable[..., httpx.Client]
MORE_ROUNDS = 3


def test_login_gives_a_pair_of_tokens(client: httpx.Client, alice: Session) -> None:
    pair = alice.answer.json()
    assert pair.keys() >= {"access_token", "refresh_token", "token_type"}, pair.keys()
    assert pair["token_type"].lower() == "bearer", pair["token_type"]
    assert pair["access_token"] != pair["refresh_token"]
    user = me(client, pair["access_token"])
    assert user.status_code == 200 and str(user.json()["id"]) == str(alice.account.id), user.text


def test_wrong_credentials_are_401(failures: Failures) -> None:
    assert failures.known[0].status_code == 401, f"wrong password: {failures.known[0].text}"
    assert failures.unknown[0].status_code == 401, f"unknown address: {failures.unknown[0].text}"


def test_login_takes_the_address_as_it_was_registered(client: httpx.Client, grace: Account) -> None:
    answer = logged_in(client, grace.email, grace.password)
    assert answer.status_code == 200, f"{grace.email}: {answer.status_code} {answer.text}"


def without_what_varies(answer: httpx.Response, *names: str) -> str:
    text = answer.text.lower()
    for name in names:
        text = text.replace(name.lower(), "")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|\d+", "", text)


def test_login_does_not_tell_whether_an_account_exists(failures: Failures) -> None:
    pairs = [
        [without_what_varies(answer, failures.account.email, failures.stranger) for answer in answers]
        for answers in (failures.known[:1], failures.unknown[:1])
    ]
    assert failures.known[0].status_code == failures.unknown[0].status_code
    assert pairs[0] == pairs[1], f"known: {pairs[0]}, unknown: {pairs[1]}"


def test_login_takes_as_long_for_unknown_accounts(failures: Failures, connect: Connect) -> None:
    known, unknown = quickest(failures.known), quickest(failures.unknown)
    http = connect()
    for _ in range(MORE_ROUNDS):
        if 0.35 * known < unknown < math.inf:
            break
        # More of both, by turns: the quickest of many is what it costs, whatever else the machine does.
        account, stranger = new_account(http), new_email()
        for _ in range(5):
            known = min(known, quickest([logged_in(http, account.email, WRONG)]))
            unknown = min(unknown, quickest([logged_in(http, stranger, WRONG)]))
    assert 0.35 * known < unknown < math.inf, (
        f"unknown account {unknown * 1000:.1f} ms, wrong password {known * 1000:.1f} ms"
    )


def quickest(answers: list[httpx.Response]) -> float:
    """Seconds of the quickest refusal, connections aside; endless where there is none."""
    return min((answer.elapsed.total_seconds() for answer in answers if answer.status_code == 401), default=math.inf)
