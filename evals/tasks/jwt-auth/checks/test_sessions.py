"""Refresh and logout: what a session is and when it ends."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import jose
from accounts import Ended, Session, me, refreshed

Connect = Callable[..., httpx.Client]
Fresh = Callable[[], Session]


def test_refresh_gives_a_new_pair(client: httpx.Client, chain: list[Session]) -> None:
    before, after = chain[:2]
    pair = after.answer.json()
    assert pair.keys() >= {"access_token", "refresh_token", "token_type"}, pair.keys()
    assert pair["token_type"].lower() == "bearer", pair["token_type"]
    assert pair["refresh_token"] != before.refresh, "the refresh token is not rotated"
    user = me(client, pair["access_token"])
    assert user.status_code == 200 and str(user.json()["id"]) == str(after.account.id), user.text


def test_refresh_can_be_repeated_with_the_newest_token(client: httpx.Client, chain: list[Session]) -> None:
    answer = me(client, chain[-1].access)
    assert answer.status_code == 200, f"after three refreshes: {answer.status_code} {answer.text}"
    assert len({session.refresh for session in chain}) == len(chain), "a refresh token was given twice"


def test_used_refresh_token_is_refused(reused: Ended) -> None:
    answer = reused.answer
    assert answer.status_code == 401, f"used a second time: {answer.status_code} {answer.text}"


def test_reuse_ends_the_newest_refresh_token(reused: Ended) -> None:
    answer = reused.newest_refresh
    assert answer.status_code == 401, f"a thief's chain goes on after the reuse: {answer.status_code} {answer.text}"


def test_reuse_ends_the_newest_access_token(reused: Ended) -> None:
    assert reused.alive.status_code == 200, f"before the reuse: {reused.alive.text}"
    answer = reused.newest_access
    assert answer.status_code == 401, f"the access token outlives its session: {answer.status_code} {answer.text}"


def test_reuse_leaves_other_sessions_alone(client: httpx.Client, reused: Ended, alice: Session) -> None:
    for what, answer in (("access", reused.other_access), ("refresh", reused.other_refresh)):
        assert answer.status_code == 200, f"{what} token of another session of the same user: {answer.status_code}"
    assert me(client, alice.access).status_code == 200, "another user's session ended too"


def test_one_of_several_refreshes_at_once_wins(
    connect: Connect,
    together: Callable[[list[Callable[[], httpx.Response]]], list[httpx.Response]],
    slow_commits: Callable[[float], AbstractContextManager[None]],
    fresh_session: Fresh,
) -> None:
    session = fresh_session()
    clients = [connect() for _ in range(4)]
    with slow_commits(0.1):
        answers = together([lambda http=http: refreshed(http, session.refresh) for http in clients])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(200) <= 1 and max(statuses) < 500, f"four uses of one refresh token at once: {statuses}"


def test_logout_ends_the_refresh_token(closed: Ended) -> None:
    answer = closed.answer
    assert answer.status_code == 204 and not answer.content, f"{answer.status_code} {answer.text}"
    again = closed.newest_refresh
    assert again.status_code == 401, f"refresh after logout: {again.status_code} {again.text}"


def test_logout_ends_the_access_tokens(closed: Ended) -> None:
    assert closed.alive.status_code == 200, f"before the logout: {closed.alive.text}"
    for what, answer in (("newest", closed.newest_access), ("first", closed.first_access)):
        assert answer.status_code == 401, f"{what} access token after logout: {answer.status_code} {answer.text}"


def test_logout_leaves_other_sessions_alone(closed: Ended) -> None:
    for what, answer in (("access", closed.other_access), ("refresh", closed.other_refresh)):
        assert answer.status_code == 200, f"{what} token of another session of the same user: {answer.status_code}"


def is_jwt(token: str) -> bool:
    return token.startswith("ey") and token.count(".") == 2


def forged(token: str) -> list[str]:
    """The refresh token as somebody would make it who knows everything but the secret in it."""
    if not is_jwt(token):
        middle = len(token) * 2 // 3
        return [token[:middle], token[:middle] + "A" * (len(token) - middle)]
    claims = jose.claims_of(token)
    unsigned = ".".join(jose.encoded(json.dumps(part).encode()) for part in ({"alg": "none", "typ": "JWT"}, claims))
    return [jose.with_claims(token, claims, key) for key in ("", "secret", "your-secret-key")] + [f"{unsigned}."]


def test_forged_refresh_tokens_are_refused(client: httpx.Client, fresh_session: Fresh) -> None:
    for token in forged(fresh_session().refresh):
        answer = refreshed(client, token)
        assert answer.status_code in (400, 401, 422), f"{token[:40]}...: {answer.status_code} {answer.text}"


def test_nobody_ends_a_session_without_its_token(client: httpx.Client, fresh_session: Fresh, bob: Session) -> None:
    session = fresh_session()
    guessed = forged(session.refresh) if is_jwt(session.refresh) else []
    for token in ("x", "", bob.access, str(session.account.id), session.account.email, *guessed):
        answer = client.post("/auth/logout", json={"refresh_token": token}, headers=bob.headers)
        assert answer.status_code < 500, f"logout with {token[:12]!r}: {answer.status_code} {answer.text}"
    assert me(client, session.access).status_code == 200, "the session ended without its refresh token"
