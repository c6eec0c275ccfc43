"""Odd input is refused, never a server error."""

import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from accounts import Departed, Session, logged_in, new_email, new_password, refreshed, registered

Connect = Callable[..., httpx.Client]
JSON = {"content-type": "application/json"}
LONG = "aB3-" * 25_600


def refused(answer: httpx.Response, what: str) -> None:
    assert 400 <= answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"


def no_server_error(answer: httpx.Response, what: str) -> None:
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"


def bodies_for(http: httpx.Client, session: Session, content: bytes, what: str) -> None:
    """Every operation that takes JSON refuses this content."""
    for method, path in (
        ("POST", "/auth/register"),
        ("POST", "/auth/refresh"),
        ("POST", "/auth/logout"),
        ("PATCH", "/users/me"),
    ):
        answer = http.request(method, path, content=content, headers=JSON | session.headers)
        refused(answer, f"{method} {path} with {what}")


@pytest.mark.parametrize(
    "content",
    [b"[1]", b'"text"', b"{", b"\xff\xfe{}", b'{"password": NaN}'],
)
def test_odd_json_is_refused(client: httpx.Client, carol: Session, content: bytes) -> None:
    bodies_for(client, carol, content, repr(content))


def test_deep_json_is_refused(client: httpx.Client, carol: Session) -> None:
    bodies_for(client, carol, b"[" * 50_000, "50,000 open brackets")
    bodies_for(client, carol, b'{"full_name":' * 10_000 + b"1" + b"}" * 10_000, "10,000 nested objects")


@pytest.mark.parametrize("value", ["NaN", "1e400", "1" * 5000, "[]", "{}"])
def test_values_of_wrong_types_are_refused(client: httpx.Client, carol: Session, value: str) -> None:
    bodies = [
        ("POST", "/auth/register", f'{{"email": {value}, "password": "{new_password()}"}}'),
        ("POST", "/auth/register", f'{{"email": "{new_email()}", "password": {value}}}'),
        ("POST", "/auth/refresh", f'{{"refresh_token": {value}}}'),
        ("POST", "/auth/logout", f'{{"refresh_token": {value}}}'),
        ("PATCH", "/users/me", f'{{"password": {value}}}'),
    ]
    if value in ("[]", "{}"):
        bodies.append(("PATCH", "/users/me", f'{{"full_name": {value}}}'))
    for method, path, content in bodies:
        answer = client.request(method, path, content=content, headers=JSON | carol.headers)
        refused(answer, f"{method} {path} {content[:80]}")


@pytest.mark.parametrize("odd", ["\\u0000", "\\ud800"])
def test_nul_and_surrogates_are_no_server_error(
    client: httpx.Client, carol: Session, departed: Departed, odd: str
) -> None:
    for method, path, content in (
        ("POST", "/auth/register", f'{{"email": "a{odd}@example.com", "password": "long enough 7"}}'),
        ("POST", "/auth/register", f'{{"email": "{new_email()}", "password": "7aZ-{odd}-long enough"}}'),
        ("POST", "/auth/register", f'{{"email": "{new_email()}", "password": "no", "full_name": "{odd}"}}'),
        ("POST", "/auth/refresh", f'{{"refresh_token": "{departed.session.refresh[:38]}{odd}"}}'),
        ("POST", "/auth/logout", f'{{"refresh_token": "{odd}"}}'),
        ("PATCH", "/users/me", f'{{"full_name": "a{odd}b"}}'),
        ("PATCH", "/users/me", f'{{"{odd}": 1}}'),
    ):
        answer = client.request(method, path, content=content, headers=JSON | carol.headers)
        no_server_error(answer, f"{method} {path} {content}")


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"username=a",
        b"username=a%00@example.com&password=whatever",
        b"username=%ED%A0%80@example.com&password=%ED%A0%80",
        b"username=%FF%FE&password=%C3%28",
        b"grant_type=password&username=&password=",
    ],
)
def test_odd_login_forms_are_refused(client: httpx.Client, form: bytes) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    refused(client.post("/auth/login", content=form, headers=kind), f"login form {form[:60]!r}")


def test_very_long_passwords_are_refused(connect: Connect, carol: Session, spent: Session) -> None:
    refused(registered(connect(), new_email(), LONG), "register with a password of 100 KB")
    refused(logged_in(connect(), carol.account.email, LONG), "login with a password of 100 KB")
    refused(
        connect().patch("/users/me", json={"password": LONG}, headers=spent.headers), "PATCH with a password of 100 KB"
    )


def test_very_long_values_are_no_server_error(client: httpx.Client, connect: Connect, carol: Session) -> None:
    incompressible = secrets.token_urlsafe(75_000)
    for what, answer in (
        ("full_name of 100 KB", client.patch("/users/me", json={"full_name": incompressible}, headers=carol.headers)),
        (
            "full_name of 400 characters",
            client.patch("/users/me", json={"full_name": "x" * 400}, headers=carol.headers),
        ),
        ("refresh token of 100 KB", refreshed(client, LONG)),
        ("address of 400 characters", registered(connect(), f"{'a' * 60}@{'b.' * 160}example.com", new_password())),
    ):
        no_server_error(answer, what)


def test_other_content_types_are_refused(client: httpx.Client, carol: Session) -> None:
    multipart: Any = {"files": {"email": ("a.txt", b"x")}}
    for what, options in (
        ("XML", {"content": b"<a/>", "headers": {"content-type": "application/xml"}}),
        ("bytes", {"content": b"\x00\xff\xfe", "headers": {"content-type": "application/octet-stream"}}),
        ("a form", {"data": {"email": new_email(), "password": new_password(), "refresh_token": "x"}}),
        ("multipart", multipart),
        ("nothing", {}),
    ):
        for path in ("/auth/register", "/auth/refresh"):
            refused(client.post(path, **options), f"{path} with {what}")
    body = {"username": carol.account.email, "password": "x" * 9}
    no_server_error(client.post("/auth/login", json=body), "/auth/login with JSON")


def test_unknown_paths_and_methods_are_refused(client: httpx.Client, alice: Session) -> None:
    for method, path in (
        ("GET", "/auth/login"),
        ("DELETE", "/users/me/x"),
        ("PUT", "/healthz"),
        ("GET", "/auth/nowhere"),
    ):
        answer = client.request(method, path, headers=alice.headers)
        refused(answer, f"{method} {path}")
