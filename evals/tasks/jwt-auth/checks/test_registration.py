"""POST /auth/register."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from accounts import (
    Account,
    Pioneers,
    Session,
    emails,
    everybody,
    logged_in,
    new_email,
    new_name,
    new_password,
    registered,
)

Connect = Callable[..., httpx.Client]
REFUSED = range(400, 500)


def moment(text: Any) -> datetime:
    assert isinstance(text, str), f"created_at is no string: {text!r}"
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def test_registers_a_user(client: httpx.Client, admin: Session) -> None:
    email, name = new_email(), new_name()
    answer = registered(client, email, new_password(), full_name=name)
    assert answer.status_code == 201, answer.text
    user = answer.json()
    assert user.keys() >= {"id", "email", "full_name", "role", "created_at"}, user
    assert (user["email"].lower(), user["full_name"]) == (email, name), user
    assert abs(datetime.now(UTC) - moment(user["created_at"])) < timedelta(minutes=5), user
    stored = [found for found in everybody(client, admin) if str(found["id"]) == str(user["id"])]
    assert stored and stored[0]["full_name"] == name, f"the new user is not in GET /users as registered: {stored}"


def test_full_name_is_optional(client: httpx.Client, pioneers: Pioneers) -> None:
    assert pioneers.accounts[-1].user["full_name"] is None, pioneers.accounts[-1].user


def test_exactly_one_of_the_first_users_is_admin(pioneers: Pioneers) -> None:
    roles = [answer.json()["role"] for answer in pioneers.answers if answer.status_code == 201]
    assert roles.count("admin") == 1, f"registered at the same moment in an empty database, they became {roles}"


def test_later_users_are_users(client: httpx.Client, carol: Session, alice: Session, admin: Session) -> None:
    assert (carol.account.user["role"], alice.account.user["role"]) == ("user", "user")
    roles = {str(user["id"]): user["role"] for user in everybody(client, admin)}
    assert roles[str(carol.account.id)] == "user", "the role changed after registration"
    assert roles[str(admin.account.id)] == "admin", "the first user is no longer admin"


def test_password_has_8_to_128_characters(connect: Connect, grace: Account) -> None:
    for password in ("aB3-xyz", "\u00fc" * 7, "aB3-" * 32 + "x"):
        answer = registered(connect(), new_email(), password)
        assert answer.status_code in REFUSED, f"{len(password)} characters: {answer.status_code} {answer.text}"
    assert len(grace.password) == 128 and grace.answer.status_code == 201
    answer = registered(connect(), new_email(), new_password()[:8])
    assert answer.status_code == 201, f"8 characters: {answer.status_code} {answer.text}"


def test_every_character_of_a_password_counts(client: httpx.Client, grace: Account) -> None:
    wrong = logged_in(client, grace.email, grace.password[:-1] + "!")
    assert wrong.status_code == 401, f"another last character of 128 logs in: {wrong.status_code}"
    right = logged_in(client, grace.email, grace.password)
    assert right.status_code == 200, right.text


def test_registration_needs_an_address_and_a_password(client: httpx.Client) -> None:
    for body in (
        {"password": new_password()},
        {"email": new_email()},
        {"email": "", "password": new_password()},
        {"email": "not-an-address", "password": new_password()},
        {"email": None, "password": new_password()},
        {"email": new_email(), "password": None},
        {},
    ):
        answer = client.post("/auth/register", json=body)
        assert answer.status_code in REFUSED, f"{sorted(body)}: {answer.status_code} {answer.text}"


def test_refuses_a_registered_address(client: httpx.Client, alice: Session, admin: Session) -> None:
    answer = registered(client, alice.account.email, new_password())
    assert answer.status_code == 409, f"{answer.status_code} {answer.text}"
    assert emails(everybody(client, admin)).count(alice.account.email) == 1, "the address is there twice"


def test_refuses_another_letter_case_of_an_address(connect: Connect, alice: Session) -> None:
    email = alice.account.email.upper()
    answer = registered(connect(), email, new_password())
    assert answer.status_code == 409, f"{email} beside {alice.account.email}: {answer.status_code} {answer.text}"


def test_address_registered_in_capitals_is_taken_too(client: httpx.Client, grace: Account) -> None:
    answer = registered(client, grace.email.lower(), new_password())
    assert answer.status_code == 409, f"{grace.email.lower()} beside {grace.email}: {answer.status_code} {answer.text}"


def test_one_of_several_registrations_at_once_wins(
    connect: Connect,
    together: Callable[[list[Callable[[], httpx.Response]]], list[httpx.Response]],
    slow_commits: Callable[[float], AbstractContextManager[None]],
    client: httpx.Client,
    admin: Session,
) -> None:
    email = new_email()
    clients = [connect() for _ in range(3)]
    with slow_commits(0.1):
        answers = together([lambda http=http: registered(http, email, new_password()) for http in clients])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201, 409, 409], f"three registrations of one address at once: {statuses}"
    assert emails(everybody(client, admin)).count(email) == 1


def test_nobody_registers_with_a_role_of_choice(connect: Connect, client: httpx.Client, admin: Session) -> None:
    for extra in (
        {"role": "admin"},
        {"is_admin": True, "is_superuser": True, "admin": True},
        {"roles": ["admin"], "scopes": ["admin"], "is_active": True},
    ):
        email = new_email()
        answer = registered(connect(), email, new_password(), **extra)
        if answer.status_code == 201:
            assert answer.json()["role"] == "user", f"{extra}: {answer.text}"
            roles = {user["email"].lower(): user["role"] for user in everybody(client, admin)}
            assert roles[email] == "user", f"{extra} made an {roles[email]}"
        else:
            assert answer.status_code in (400, 422), f"{extra}: {answer.status_code} {answer.text}"


def test_nobody_registers_with_an_id_of_choice(client: httpx.Client, admin: Session) -> None:
    account = new_email(), new_password()
    answer = registered(client, *account, id=admin.account.id, created_at="2001-01-01T00:00:00Z")
    assert answer.status_code in (201, 400, 422), f"{answer.status_code} {answer.text}"
    if answer.status_code == 201:
        assert str(answer.json()["id"]) != str(admin.account.id), "an id could be chosen"
        assert moment(answer.json()["created_at"]).year > 2020, "created_at could be chosen"
