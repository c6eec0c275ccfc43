"""GET and PATCH /users/me."""

from collections.abc import Callable
from typing import Any

import httpx
from accounts import Session, changed, logged_in, me, new_account, new_email, new_name, new_password, new_session

Connect = Callable[..., httpx.Client]


def read(http: httpx.Client, session: Session) -> dict[str, Any]:
    answer = me(http, session.access)
    assert answer.status_code == 200, answer.text
    user: dict[str, Any] = answer.json()
    return user


def test_me_is_the_user_of_the_token(client: httpx.Client, alice: Session, bob: Session) -> None:
    for session in (alice, bob, alice):
        user = read(client, session)
        assert user.keys() >= {"id", "email", "full_name", "role", "created_at"}, user
        assert (str(user["id"]), user["email"].lower()) == (str(session.account.id), session.account.email), user
        assert user["created_at"] == session.account.user["created_at"], "created_at is not what registration said"


def test_full_name_can_be_changed(client: httpx.Client, carol: Session) -> None:
    name = new_name()
    answer = changed(client, carol, full_name=name)
    assert answer.status_code == 200, answer.text
    assert (str(answer.json()["id"]), answer.json()["full_name"]) == (str(carol.account.id), name), answer.text
    assert read(client, carol)["full_name"] == name, "the new name was not stored"


def test_null_clears_the_full_name(client: httpx.Client, carol: Session) -> None:
    assert changed(client, carol, full_name=new_name()).status_code == 200
    answer = changed(client, carol, full_name=None)
    assert answer.status_code == 200 and answer.json()["full_name"] is None, f"{answer.status_code} {answer.text}"
    assert read(client, carol)["full_name"] is None, "the name is still stored"


def test_absent_full_name_stays(client: httpx.Client, carol: Session) -> None:
    name = new_name()
    assert changed(client, carol, full_name=name).status_code == 200
    answer = changed(client, carol)
    assert answer.status_code in (200, 400, 422), f"{answer.status_code} {answer.text}"
    found = read(client, carol)["full_name"]
    assert found == name, f"nothing was sent, the name became {found!r}"


def test_new_password_replaces_the_old_one(connect: Connect) -> None:
    session = new_session(connect(), new_account(connect()))
    password = new_password()
    answer = changed(connect(), session, password=password)
    assert answer.status_code == 200, answer.text
    assert str(answer.json()["id"]) == str(session.account.id), answer.text
    new = logged_in(connect(), session.account.email, password)
    assert new.status_code == 200, f"the new password: {new.status_code} {new.text}"
    old = logged_in(connect(), session.account.email, session.account.password)
    assert old.status_code == 401, f"the old password: {old.status_code}"


def test_new_password_has_8_to_128_characters(client: httpx.Client, spent: Session) -> None:
    for password in ("aB3-xyz", "aB3-" * 32 + "x", ""):
        answer = changed(client, spent, password=password)
        assert 400 <= answer.status_code < 500, f"{len(password)} characters: {answer.status_code} {answer.text}"


def test_null_password_changes_nothing(connect: Connect) -> None:
    session = new_session(connect(), new_account(connect()))
    answer = changed(connect(), session, password=None)
    assert answer.status_code == 200 or 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text}"
    still = logged_in(connect(), session.account.email, session.account.password)
    assert still.status_code == 200, f"after PATCH with a null password: {still.status_code} {still.text}"


def test_nobody_gives_himself_a_role(client: httpx.Client, carol: Session) -> None:
    before = read(client, carol)
    for extra in ({"role": "admin"}, {"is_admin": True, "is_superuser": True}, {"roles": ["admin"]}):
        answer = changed(client, carol, full_name="Carol", **extra)
        assert answer.status_code in (200, 400, 403, 422), f"{extra}: {answer.status_code} {answer.text}"
        assert read(client, carol)["role"] == before["role"] == "user", f"{extra} worked"
    listed = client.get("/users", headers=carol.headers)
    assert listed.status_code == 403, f"GET /users: {listed.status_code}"


def test_nobody_changes_id_or_address(client: httpx.Client, carol: Session, admin: Session) -> None:
    before = read(client, carol)
    for extra in ({"id": admin.account.id}, {"email": new_email()}, {"email": admin.account.email}):
        answer = changed(client, carol, full_name="Carol", **extra)
        assert answer.status_code in (200, 400, 403, 422), f"{extra}: {answer.status_code} {answer.text}"
        after = read(client, carol)
        assert (after["id"], after["email"]) == (before["id"], before["email"]), f"{extra} worked: {after}"
