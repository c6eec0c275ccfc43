"""An answer is sent after the commit, not before it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
from accounts import (
    Session,
    emails,
    everybody,
    logged_in,
    logged_out,
    me,
    new_email,
    new_name,
    new_password,
    registered,
)

Slow = Callable[[float], AbstractContextManager[None]]
Refused = Callable[[], AbstractContextManager[None]]
Connect = Callable[..., httpx.Client]
COMMIT_S = 0.3


def test_registration_is_stored_before_the_answer(
    client: httpx.Client, connect: Connect, slow_commits: Slow, admin: Session
) -> None:
    email, other = new_email(), connect()
    with slow_commits(COMMIT_S):
        answer = registered(client, email, new_password())
        listed = everybody(other, admin)
    assert answer.status_code == 201, answer.text
    assert email in emails(listed), "201, but the user can't be seen yet: the commit comes after the answer"


def test_session_is_stored_before_the_answer(connect: Connect, slow_commits: Slow, carol: Session) -> None:
    here, there = connect(), connect()
    with slow_commits(COMMIT_S):
        answer = logged_in(here, carol.account.email, carol.account.password)
        user = me(there, answer.json().get("access_token", "x"))
    assert answer.status_code == 200, answer.text
    assert user.status_code == 200, f"a token that doesn't work yet: {user.status_code} {user.text}"


def test_profile_is_stored_before_the_answer(connect: Connect, slow_commits: Slow, carol: Session) -> None:
    here, there, name = connect(), connect(), new_name()
    with slow_commits(COMMIT_S):
        answer = here.patch("/users/me", json={"full_name": name}, headers=carol.headers)
        found = me(there, carol.access).json()["full_name"]
    assert answer.status_code == 200, answer.text
    assert found == name, f"200, but the name is still {found!r}: the commit comes after the answer"


def test_logout_is_stored_before_the_answer(
    connect: Connect, slow_commits: Slow, fresh_session: Callable[[], Session]
) -> None:
    session, here, there = fresh_session(), connect(), connect()
    with slow_commits(COMMIT_S):
        answer = logged_out(here, session.refresh)
        after = me(there, session.access)
    assert answer.status_code == 204, answer.text
    assert after.status_code == 401, f"204, but the session is still open: {after.status_code}"


def test_refused_commit_is_no_success(
    client: httpx.Client, connect: Connect, refused_commits: Refused, admin: Session, carol: Session
) -> None:
    email, name, other = new_email(), new_name(), connect()
    with refused_commits():
        answer = registered(client, email, new_password())
        patched = other.patch("/users/me", json={"full_name": name}, headers=carol.headers)
    assert not answer.is_success, f"the database refused the commit, the client was told {answer.status_code}"
    assert not patched.is_success, f"the database refused the commit, PATCH said {patched.status_code}"
    assert email not in emails(everybody(other, admin))
    assert me(other, carol.access).json()["full_name"] != name
