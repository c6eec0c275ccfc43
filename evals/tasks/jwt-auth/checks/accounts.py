"""Accounts as the checks use them, and the calls of the interface."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx

WRONG = "not the password at all"
# Of the second process; the first has the defaults.
REPLICA_ACCESS_TTL_S = 77
REPLICA_REFRESH_TTL_S = 1


@dataclass(frozen=True)
class Account:
    """Somebody who registered, and what the service answered."""

    email: str
    password: str
    answer: httpx.Response

    @property
    def user(self) -> dict[str, Any]:
        user: dict[str, Any] = self.answer.json()
        return user

    @property
    def id(self) -> Any:
        return self.user["id"]


@dataclass(frozen=True)
class Session:
    """A login or a refresh that worked, and when it was asked for."""

    account: Account
    answer: httpx.Response
    asked_at: float
    answered_at: float

    @property
    def access(self) -> str:
        return str(self.answer.json()["access_token"])

    @property
    def refresh(self) -> str:
        return str(self.answer.json()["refresh_token"])

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.access)

    def renewed(self, http: httpx.Client) -> "Session":
        """The session after one more refresh."""
        asked_at = time.time()
        answer = refreshed(http, self.refresh)
        assert answer.status_code == 200, f"refresh: {answer.status_code} {answer.text}"
        return Session(self.account, answer, asked_at, time.time())


@dataclass(frozen=True)
class Pioneers:
    """What came of registering several people at the same moment in an empty database."""

    answers: list[httpx.Response]
    accounts: list[Account]


@dataclass(frozen=True)
class Failures:
    """Six wrong logins each of an account that exists and of one that doesn't, by turns, from one address each."""

    account: Account
    stranger: str
    known: list[httpx.Response]
    unknown: list[httpx.Response]

    @property
    def cost_s(self) -> float:
        """What one password costs."""
        return min(answer.elapsed.total_seconds() for answer in self.known[:-1])


@dataclass(frozen=True)
class Ended:
    """A session that was refreshed, and what its tokens are good for after it should have ended."""

    session: Session
    newest: Session
    alive: httpx.Response
    answer: httpx.Response
    first_access: httpx.Response
    newest_access: httpx.Response
    newest_refresh: httpx.Response
    other_access: httpx.Response
    other_refresh: httpx.Response


@dataclass(frozen=True)
class Departed:
    """A user whom the admin deleted."""

    session: Session
    answer: httpx.Response


@dataclass(frozen=True)
class Growth:
    """One more user: a page of one before and after, and everybody after."""

    before: httpx.Response
    youngest: Account
    after: httpx.Response
    everybody: list[dict[str, Any]]


@dataclass(frozen=True)
class Errors:
    """A password that was sent where it must be refused, and the answers."""

    secret: str
    answers: dict[str, httpx.Response]


def new_email(prefix: str = "") -> str:
    return f"{prefix or secrets.choice('abcdefgh')}{secrets.token_hex(6)}@{secrets.token_hex(3)}.example.com"


def new_password() -> str:
    return secrets.token_urlsafe(12) + "7aZ-"


def new_name() -> str:
    return f"Ada {secrets.token_hex(4)} Lovelace"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def registered(http: httpx.Client, email: str, password: str, **more: Any) -> httpx.Response:
    return http.post("/auth/register", json={"email": email, "password": password, **more})


def logged_in(http: httpx.Client, username: str, password: str, **options: Any) -> httpx.Response:
    form = {"grant_type": "password", "username": username, "password": password}
    return http.post("/auth/login", data=form, **options)


def refreshed(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/auth/refresh", json={"refresh_token": token})


def logged_out(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/auth/logout", json={"refresh_token": token})


def me(http: httpx.Client, token: str) -> httpx.Response:
    return http.get("/users/me", headers=bearer(token))


def changed(http: httpx.Client, session: Session, **body: Any) -> httpx.Response:
    return http.patch("/users/me", json=body, headers=session.headers)


def new_account(http: httpx.Client, email: str = "", password: str = "", **more: Any) -> Account:
    email, password = email or new_email(), password or new_password()
    answer = registered(http, email, password, **more)
    assert answer.status_code == 201, f"register: {answer.status_code} {answer.text}"
    return Account(email, password, answer)


def new_session(http: httpx.Client, account: Account) -> Session:
    asked_at = time.time()
    answer = logged_in(http, account.email, account.password)
    assert answer.status_code == 200, f"login: {answer.status_code} {answer.text}"
    return Session(account, answer, asked_at, time.time())


def page(http: httpx.Client, admin: Session, **query: object) -> httpx.Response:
    return http.get("/users", params=query, headers=admin.headers)


def everybody(http: httpx.Client, admin: Session) -> list[dict[str, Any]]:
    """All users, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = page(http, admin, limit=100, offset=len(found))
        assert answer.status_code == 200, f"GET /users: {answer.status_code} {answer.text}"
        found += answer.json()["items"]
        if not answer.json()["items"] or len(found) >= answer.json()["total"]:
            return found


def emails(users: list[dict[str, Any]]) -> list[str]:
    return [str(user["email"]).lower() for user in users]
