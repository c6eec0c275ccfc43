import asyncio
import secrets
from dataclasses import dataclass

import httpx2
import jwt
import pytest

from app.auth_settings import AuthSettings

pytestmark = pytest.mark.anyio


@dataclass
class Account:
    email: str
    password: str
    access: str
    refresh: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.access}"}


async def register(client: httpx2.AsyncClient, email: str, password: str = "correct horse 9") -> httpx2.Response:  # noqa: S107
    return await client.post("/auth/register", json={"email": email, "password": password})


async def log_in(client: httpx2.AsyncClient, email: str, password: str) -> httpx2.Response:
    return await client.post("/auth/login", data={"username": email, "password": password})


async def account(client: httpx2.AsyncClient) -> Account:
    email, password = f"{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(12)
    assert (await register(client, email, password)).status_code == 201
    tokens = (await log_in(client, email, password)).json()
    return Account(email, password, tokens["access_token"], tokens["refresh_token"])


async def test_only_the_first_account_is_an_administrator(client: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(register(client, f"p{number}@example.com") for number in range(4)))
    assert sorted(answer.json()["role"] for answer in answers) == ["admin", "user", "user", "user"]


async def test_an_address_can_be_registered_once(client: httpx2.AsyncClient) -> None:
    assert (await register(client, "ann@example.com")).status_code == 201
    assert (await register(client, "Ann@Example.COM")).status_code == 409


@pytest.mark.parametrize(
    "changed",
    [{"role": "admin"}, {"password": "s3cr3t!"}, {"password": "x" * 129}, {"email": "ann"}, {"full_name": "\0"}],
)
async def test_what_registration_refuses(client: httpx2.AsyncClient, changed: dict[str, str]) -> None:
    body = {"email": "ann@example.com", "password": "correct horse 9"} | changed
    answer = await client.post("/auth/register", json=body)
    assert answer.status_code == 422
    assert body["password"] not in answer.text


async def test_the_profile(client: httpx2.AsyncClient) -> None:
    ann = await account(client)
    changed = await client.patch("/users/me", json={"full_name": " Ann  "}, headers=ann.headers)
    assert changed.json()["full_name"] == "Ann"
    assert (await client.patch("/users/me", json={}, headers=ann.headers)).json() == changed.json()
    assert (await client.patch("/users/me", json={"full_name": None}, headers=ann.headers)).json()["full_name"] is None
    assert (await client.patch("/users/me", json={"password": None}, headers=ann.headers)).status_code == 422
    assert (await client.patch("/users/me", json={"role": "admin"}, headers=ann.headers)).status_code == 422


async def test_a_new_password_replaces_the_old_one_and_ends_other_sessions(client: httpx2.AsyncClient) -> None:
    ann = await account(client)
    other = (await log_in(client, ann.email, ann.password)).json()["access_token"]
    assert (await client.patch("/users/me", json={"password": "another one"}, headers=ann.headers)).status_code == 200
    assert (await log_in(client, ann.email, ann.password)).status_code == 401
    assert (await log_in(client, ann.email, "another one")).status_code == 200
    assert (await client.get("/users/me", headers=ann.headers)).status_code == 200
    assert (await client.get("/users/me", headers={"authorization": f"Bearer {other}"})).status_code == 401


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(client: httpx2.AsyncClient) -> None:
    ann = await account(client)
    first = await client.post("/auth/refresh", json={"refresh_token": ann.refresh})
    assert first.status_code == 200
    newest = first.json()
    assert (await client.post("/auth/refresh", json={"refresh_token": ann.refresh})).status_code == 401
    assert (await client.post("/auth/refresh", json={"refresh_token": newest["refresh_token"]})).status_code == 401
    headers = {"authorization": f"Bearer {newest['access_token']}"}
    assert (await client.get("/users/me", headers=headers)).status_code == 401


async def test_logout_ends_one_session(client: httpx2.AsyncClient) -> None:
    ann = await account(client)
    other = (await log_in(client, ann.email, ann.password)).json()["access_token"]
    assert (await client.post("/auth/logout", json={"refresh_token": ann.refresh})).status_code == 204
    assert (await client.get("/users/me", headers=ann.headers)).status_code == 401
    assert (await client.post("/auth/refresh", json={"refresh_token": ann.refresh})).status_code == 401
    assert (await client.get("/users/me", headers={"authorization": f"Bearer {other}"})).status_code == 200


@pytest.mark.parametrize(
    "change", [{"exp": 1}, {"exp": None}, {"sub": "abc"}, {"sub": None}, {"typ": "refresh"}, {"sid": "x"}]
)
async def test_a_token_needs_all_its_claims(
    client: httpx2.AsyncClient, settings: AuthSettings, change: dict[str, object]
) -> None:
    ann = await account(client)
    key = settings.secret_key.get_secret_value()
    claims = jwt.decode(ann.access, key, algorithms=["HS256"]) | change
    token = jwt.encode({name: value for name, value in claims.items() if value is not None}, key)
    assert (await client.get("/users/me", headers={"authorization": f"Bearer {token}"})).status_code == 401


async def test_failed_logins_are_limited_by_account(client: httpx2.AsyncClient) -> None:
    ann, bob = await account(client), await account(client)
    for email in (ann.email, "nobody@example.com"):
        answers = await asyncio.gather(*(log_in(client, email, "wrong password") for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 3
    refused = await log_in(client, ann.email.upper(), ann.password)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 300
    assert [(await log_in(client, bob.email, bob.password)).status_code for _ in range(7)] == [200] * 7


async def test_administration(client: httpx2.AsyncClient) -> None:
    admin, bob = await account(client), await account(client)
    assert (await client.get("/users", headers=bob.headers)).status_code == 403
    assert (await client.get("/users")).status_code == 401
    assert (await client.get("/users", params={"limit": 101}, headers=admin.headers)).status_code == 422
    listed = (await client.get("/users", params={"limit": 1, "offset": 1}, headers=admin.headers)).json()
    assert (listed["total"], [user["email"] for user in listed["items"]]) == (2, [bob.email])
    path = f"/users/{listed['items'][0]['id']}"
    assert (await client.delete(path, headers=bob.headers)).status_code == 403
    assert (await client.delete(path, headers=admin.headers)).status_code == 204
    assert (await client.delete(path, headers=admin.headers)).status_code == 404
    assert (await client.get("/users/me", headers=bob.headers)).status_code == 401
    assert (await client.post("/auth/refresh", json={"refresh_token": bob.refresh})).status_code == 401
