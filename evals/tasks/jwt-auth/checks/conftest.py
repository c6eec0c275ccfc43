"""Accounts and sessions that the checks share, because passwords are slow on purpose.

No check changes `admin`, `alice`, `bob` or `grace`, or ends their sessions.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from accounts import (
    REPLICA_ACCESS_TTL_S,
    REPLICA_REFRESH_TTL_S,
    WRONG,
    Account,
    Departed,
    Ended,
    Errors,
    Failures,
    Growth,
    Pioneers,
    Session,
    changed,
    everybody,
    logged_in,
    logged_out,
    me,
    new_account,
    new_email,
    new_password,
    new_session,
    page,
    refreshed,
    registered,
)

Connect = Callable[..., httpx.Client]
Fresh = Callable[[], Session]
PIONEERS = 3
# Few, so that an answer that counts successful logins as failures fails where that is checked.
LOGINS_OF_ONE_ACCOUNT = 3


@pytest.fixture(scope="session", autouse=True)
def pioneers(
    connect: Connect,
    together: Callable[[list[Callable[[], httpx.Response]]], list[httpx.Response]],
    slow_commits: Callable[[float], AbstractContextManager[None]],
) -> Pioneers:
    """The first users. Slow commits hold the moment open in which nobody can see that another one came first."""
    password = new_password()
    people = [(connect(), new_email()) for _ in range(PIONEERS)]
    with slow_commits(0.15):
        answers = together([lambda http=http, email=email: registered(http, email, password) for http, email in people])
    accounts = [
        Account(email, password, answer)
        for (_, email), answer in zip(people, answers, strict=True)
        if answer.status_code == 201
    ]
    while len(accounts) < PIONEERS:
        accounts.append(new_account(connect(), password=password))
    return Pioneers(answers, accounts)


@pytest.fixture(scope="session")
def admin(pioneers: Pioneers, connect: Connect) -> Session:
    admins = [account for account in pioneers.accounts if account.user.get("role") == "admin"]
    assert admins, "nobody became admin, though the first registered user must"
    return new_session(connect(), admins[0])


@pytest.fixture(scope="session")
def commoners(pioneers: Pioneers, admin: Session, connect: Connect) -> list[Session]:
    """Two users with the same password and no rights."""
    others = [account for account in pioneers.accounts if account.id != admin.account.id]
    return [new_session(connect(), account) for account in others[:2]]


@pytest.fixture(scope="session")
def alice(commoners: list[Session]) -> Session:
    return commoners[0]


@pytest.fixture(scope="session")
def bob(commoners: list[Session]) -> Session:
    return commoners[1]


@pytest.fixture(scope="session")
def carol(connect: Connect) -> Session:
    """Whose name checks may change, each setting it first."""
    return new_session(connect(), new_account(connect(), full_name="Carol"))


@pytest.fixture(scope="session")
def grace(connect: Connect) -> Account:
    """Registered with capitals in the address and with the longest password."""
    email = new_email("Grace.Hopper").replace("example", "Example")
    return new_account(connect(), email, (new_password() * 9)[:128])


@pytest.fixture(scope="session")
def fresh_session(connect: Connect) -> Fresh:
    """A session that nobody else uses. Its account may have others, which must not matter."""

    def sessions() -> Iterator[Session]:
        while True:
            account = new_account(connect())
            for _ in range(LOGINS_OF_ONE_ACCOUNT):
                yield new_session(connect(), account)

    made = sessions()
    return lambda: next(made)


@pytest.fixture(scope="session")
def chain(fresh_session: Fresh, connect: Connect) -> list[Session]:
    """A session that was refreshed three times, oldest first. Nobody uses the old tokens again."""
    sessions = [fresh_session()]
    for _ in range(3):
        sessions.append(sessions[-1].renewed(connect()))
    return sessions


def ended(http: httpx.Client, session: Session, end: Callable[[Session], httpx.Response]) -> Ended:
    other = new_session(http, session.account)
    newest = session.renewed(http).renewed(http)
    alive = me(http, newest.access)
    return Ended(
        session=session,
        newest=newest,
        alive=alive,
        answer=end(newest),
        first_access=me(http, session.access),
        newest_access=me(http, newest.access),
        newest_refresh=refreshed(http, newest.refresh),
        other_access=me(http, other.access),
        other_refresh=refreshed(http, other.refresh),
    )


@pytest.fixture(scope="session")
def mallory(connect: Connect) -> Account:
    """Whose sessions end."""
    return new_account(connect())


@pytest.fixture(scope="session")
def reused(connect: Connect, mallory: Account) -> Ended:
    """Its first refresh token was used a second time."""
    http = connect()
    session = new_session(http, mallory)
    return ended(http, session, lambda _: refreshed(http, session.refresh))


@pytest.fixture(scope="session")
def closed(connect: Connect, mallory: Account) -> Ended:
    """Its user logged out."""
    http = connect()
    session = new_session(http, mallory)
    return ended(http, session, lambda newest: logged_out(http, newest.refresh))


@pytest.fixture(scope="session")
def spent(mallory: Account, reused: Ended, closed: Ended, connect: Connect) -> Session:
    """The last session of an account that nobody logs in to any more: its password may be spoilt."""
    return new_session(connect(), mallory)


@pytest.fixture(scope="session")
def failures(connect: Connect) -> Failures:
    account, stranger = new_account(connect()), new_email()
    here, there = connect(), connect()
    # The same cost for both before time is measured: connections.
    for http in (here, there):
        http.get("/healthz")
    known, unknown = [], []
    for _ in range(6):
        known.append(logged_in(here, account.email, WRONG))
        unknown.append(logged_in(there, stranger, WRONG))
    return Failures(account, stranger, known, unknown)


@pytest.fixture(scope="session")
def departed(admin: Session, connect: Connect) -> Departed:
    session = new_session(connect(), new_account(connect()))
    answer = connect().delete(f"/users/{session.account.id}", headers=admin.headers)
    return Departed(session, answer)


@pytest.fixture(scope="session")
def growth(admin: Session, alice: Session, connect: Connect) -> Growth:
    http = connect()
    before = page(http, admin, limit=1)
    youngest = new_account(http)
    return Growth(before, youngest, page(http, admin, limit=1), everybody(http, admin))


@pytest.fixture(scope="session")
def errors(alice: Session, spent: Session, connect: Connect) -> Errors:
    http, secret, json = connect(), new_password(), {"content-type": "application/json"}
    sent = {
        "invalid address": registered(http, "not-an-address", secret),
        "no address": http.post("/auth/register", json={"password": secret}),
        "too long": registered(http, new_email(), secret * 9),
        "wrong type": http.post("/auth/register", json={"email": new_email(), "password": [secret]}),
        "taken address": registered(http, alice.account.email, secret),
        "text instead of JSON": http.post("/auth/register", content=secret, headers={"content-type": "text/plain"}),
        "broken JSON": http.post("/auth/register", content=f'{{"password": "{secret}"', headers=json),
        "JSON string": http.post("/auth/register", json=secret),
        "PATCH, too long": changed(http, spent, password=secret * 9),
        "PATCH, wrong type": changed(http, spent, password={"a": secret}),
        "wrong password": logged_in(http, alice.account.email, secret),
        "login with JSON": http.post("/auth/login", json={"username": new_email(), "password": secret}),
        "login without a name": http.post("/auth/login", data={"password": secret}),
        "invalid access token": me(http, f"{secret}.{secret}.{secret}"),
        "invalid refresh token": refreshed(http, f"{secret}.{secret}.{secret}"),
        "odd id": http.delete("/users/%00", headers=alice.headers),
    }
    return Errors(secret, sent)


@pytest.fixture(scope="session")
def replica(service: Any, pioneers: Pioneers) -> Iterator[Any]:
    """A second process on the same database, with other lifetimes."""
    lifetimes = {
        "ACCESS_TOKEN_TTL_S": str(REPLICA_ACCESS_TTL_S),
        "REFRESH_TOKEN_TTL_S": str(REPLICA_REFRESH_TTL_S),
    }
    with service.another(database="same", env=lifetimes) as other:
        yield other


@pytest.fixture(scope="session")
def there(replica: Any, carol: Session, connect: Connect) -> Session:
    """A login at the second process."""
    return new_session(connect(base_url=replica.url), carol.account)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has to wait comes last, when most of the waiting is over."""
    items.sort(key=lambda item: "refresh_token_ttl" in item.name)
