"""What the blocks of fastapi-auth promise, over real HTTP, on SQLite and on PostgreSQL."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest

BLOCKS = (
    "auth_settings",
    "passwords",
    "users",
    "first_account",
    "tokens",
    "sessions",
    "current_user",
    "throttle",
    "auth_routes",
    "user_routes",
    "api_keys",
)
KEY = secrets.token_hex(32)
WRONG = "not the password"

KEY_ROUTES = """
from fastapi import APIRouter

from .api_keys import KeyUser, make_key
from .current_user import CurrentUser
from .database import DB, utc_now
from .users import UserOut

router = APIRouter(prefix="/keys")


@router.post("")
async def create(user: CurrentUser, db: DB, *, expired: bool = False) -> str:
    key, row = make_key(user.id, "test", utc_now() if expired else None)
    db.add(row)
    return key


@router.get("/owner")
async def owner(user: KeyUser) -> UserOut:
    return UserOut.model_validate(user)
"""


@pytest.fixture(scope="session")
def accounts(assemble):
    """The blocks as SKILL.md says: three changes to application.py."""
    workspace = assemble(*BLOCKS)
    (workspace.path / "app" / "key_routes.py").write_text(KEY_ROUTES.lstrip())
    workspace.route("auth_routes", "key_routes", "user_routes")
    application = workspace.path / "app" / "application.py"
    text = application.read_text().replace("from .settings import Settings\n", "").replace("Settings", "AuthSettings")
    text = text.replace("from .database", "from .auth_settings import AuthSettings\nfrom .database")
    text = text.replace("from .schema", "from .passwords import Passwords\nfrom .schema")
    kept = "    app.state.settings = settings\n"
    assert text.count(kept) == 1
    application.write_text(text.replace(kept, kept + "    app.state.passwords = Passwords()\n"))
    return workspace


@pytest.fixture(scope="session")
def accounts_service(accounts, fresh_url: Callable[[], str]) -> Iterator[Any]:
    with accounts.serve(DATABASE_URL=fresh_url(), SECRET_KEY=KEY) as service:
        with ThreadPoolExecutor(4) as pool:
            first = list(pool.map(lambda _: register(service), range(4)))
        service.pioneers = first
        yield service


@pytest.fixture
def http(accounts_service) -> Iterator[httpx.Client]:
    with accounts_service.client() as client:
        yield client


def register(service, email: str = "") -> httpx.Response:
    body = {"email": email or f"{secrets.token_hex(6)}@example.com", "password": "correct horse 9"}
    with service.client() as client:
        return client.post("/auth/register", json=body)


def log_in(http, email: str, password: str = "correct horse 9") -> httpx.Response:
    return http.post("/auth/login", data={"username": email, "password": password})


def session(http) -> dict[str, Any]:
    email = f"{secrets.token_hex(6)}@example.com"
    assert http.post("/auth/register", json={"email": email, "password": "correct horse 9"}).status_code == 201
    return {"email": email, **log_in(http, email).json()}


def refresh(http, token: str) -> httpx.Response:
    return http.post("/auth/refresh", json={"refresh_token": token})


def me(http, token: str) -> httpx.Response:
    return http.get("/users/me", headers={"Authorization": f"Bearer {token}"})


def test_one_of_the_first_is_admin(accounts_service):
    assert sorted(answer.json()["role"] for answer in accounts_service.pioneers) == ["admin", "user", "user", "user"]


def test_one_address_is_registered_once_also_in_a_race(accounts_service):
    email = f"{secrets.token_hex(6)}@example.com"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: register(accounts_service, name), (email, email.upper(), email, email)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


def test_one_of_several_uses_of_a_refresh_token_wins_and_the_session_ends(accounts_service, http):
    token = session(http)["refresh_token"]

    def use(_: int) -> httpx.Response:
        with accounts_service.client() as client:
            return refresh(client, token)

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(use, range(5)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {answer.status_code for answer in answers} == {200, 401}
    assert refresh(http, won[0].json()["refresh_token"]).status_code == 401
    assert me(http, won[0].json()["access_token"]).status_code == 401


def test_reuse_and_logout_leave_other_sessions_alone(http):
    first = session(http)
    second, third = (log_in(http, first["email"]).json() for _ in range(2))
    assert refresh(http, first["refresh_token"]).status_code == 200
    assert refresh(http, first["refresh_token"]).status_code == 401
    assert http.post("/auth/logout", json={"refresh_token": second["refresh_token"]}).status_code == 204
    assert me(http, second["access_token"]).status_code == 401
    assert me(http, third["access_token"]).status_code == 200
    assert refresh(http, third["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "change",
    [{"exp": 1}, {"exp": None}, {"sub": "abc"}, {"sub": None}, {"sid": 7}, {"jti": ["x"]}, {"typ": "refresh"}],
    ids=str,
)
def test_token_needs_all_its_claims(http, change):
    token = session(http)["access_token"]
    claims = {**jwt_claims(token), **change}
    forged = jwt.encode({name: value for name, value in claims.items() if value is not None}, KEY)
    assert me(http, forged).status_code == 401
    assert me(http, token).status_code == 200


def jwt_claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, KEY, algorithms=["HS256"])
    return claims


def test_forged_token_ends_no_session(http):
    tokens = session(http)
    forged = jwt.encode(jwt_claims(tokens["refresh_token"]), secrets.token_hex(32))
    assert refresh(http, forged).status_code == 401
    assert http.post("/auth/logout", json={"refresh_token": forged}).status_code == 401
    assert http.post("/auth/logout", json={"refresh_token": tokens["access_token"]}).status_code == 401
    assert refresh(http, tokens["refresh_token"]).status_code == 200


def test_burst_of_guesses_gets_five(accounts_service, http):
    email = session(http)["email"]

    def guess(_: int) -> int:
        with accounts_service.client() as client:
            return int(log_in(client, email, WRONG).status_code)

    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(guess, range(12))) == [401] * 5 + [429] * 7
    refused = log_in(http, email.upper())
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300


def test_unknown_account_is_limited_alike_and_success_gives_the_slot_back(http):
    stranger = f"{secrets.token_hex(6)}@example.com\0"
    assert [log_in(http, stranger, WRONG).status_code for _ in range(6)] == [401] * 5 + [429]
    email = session(http)["email"]
    assert [log_in(http, email, WRONG).status_code for _ in range(4)] == [401] * 4
    assert [log_in(http, email).status_code for _ in range(3)] == [200] * 3
    assert [log_in(http, email, WRONG).status_code for _ in range(2)] == [401, 429]


def test_new_password_ends_other_sessions(http):
    first = session(http)
    other = log_in(http, first["email"]).json()
    headers = {"Authorization": f"Bearer {first['access_token']}"}
    assert http.patch("/users/me", json={"password": "another horse"}, headers=headers).status_code == 200
    assert me(http, first["access_token"]).status_code == 200
    assert me(http, other["access_token"]).status_code == 401
    assert log_in(http, first["email"]).status_code == 401
    assert log_in(http, first["email"], "another horse").status_code == 200


def test_key_opens_what_its_owner_may_until_it_expires(http):
    owner = session(http)
    headers = {"Authorization": f"Bearer {owner['access_token']}"}
    good, expired = (http.post("/keys", params={"expired": late}, headers=headers).json() for late in (False, True))
    assert http.get("/keys/owner", headers={"X-API-Key": good}).json()["email"] == owner["email"]
    for bad in (expired, good[:-1], ""):
        assert http.get("/keys/owner", headers={"X-API-Key": bad}).status_code == 401
    assert http.get("/keys/owner").status_code == 401


def test_unknown_account_takes_as_long(http):
    known = session(http)["email"]

    def cost(email: str) -> float:
        start = time.perf_counter()
        assert log_in(http, email, WRONG).status_code == 401
        return time.perf_counter() - start

    times = [(cost(known), cost(f"{secrets.token_hex(6)}@example.com")) for _ in range(4)]
    assert min(unknown for _, unknown in times) > 0.5 * min(known for known, _ in times)


def test_no_answer_or_log_line_holds_a_secret(accounts_service, http):
    password = f"hunter2-{secrets.token_hex(8)}"
    email = f"{secrets.token_hex(6)}@example.com"
    answers = [
        http.post("/auth/register", json={"email": email, "password": password}),
        http.post("/auth/register", json={"email": email, "password": password}),
        http.post("/auth/register", json={"email": "x", "password": password}),
        http.post("/auth/register", json={"email": email, "password": password * 9}),
        log_in(http, email, password),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 422, 422, 200]
    tokens = answers[-1].json()
    told = "".join([*(answer.text for answer in answers), accounts_service.log()])
    assert password not in told
    assert "$argon2" not in told
    assert tokens["refresh_token"] not in accounts_service.log()


def test_key_is_required(accounts, fresh_sqlite):
    for key in ({}, {"SECRET_KEY": "short-" + secrets.token_hex(4)}):
        done = accounts.run("-c", "import app.main", DATABASE_URL=fresh_sqlite(), **key)
        assert done.returncode != 0
        assert key.get("SECRET_KEY", "\0") not in done.stderr


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "app"), ("ruff", "format", "--no-cache", "--check", "app"), ("mypy", "app")],
    ids=" ".join,
)
def test_auth_blocks_are_clean(accounts: Any, command: tuple[str, ...]) -> None:
    accounts.check("-m", *command)
