import httpx2
import pytest

pytestmark = pytest.mark.anyio

Client = httpx2.AsyncClient
ADDRESS, PASSWORD = "ann@example.com", "correct horse 9"


async def register(client: Client, email: str = ADDRESS) -> httpx2.Response:
    return await client.post("/auth/register", json={"email": email, "password": PASSWORD})


async def log_in(client: Client, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/auth/login", data={"username": ADDRESS, "password": password})


async def refresh(client: Client, token: str) -> httpx2.Response:
    return await client.post("/auth/refresh", json={"refresh_token": token})


async def status_of_me(client: Client, token: str) -> int:
    return (await client.get("/users/me", headers={"Authorization": f"Bearer {token}"})).status_code


async def test_registers_the_first_account_as_admin_and_each_address_once(client: Client) -> None:
    made = await register(client)
    assert made.status_code == 201, made.text
    assert made.json()["role"] == "admin"
    assert "password" not in made.text
    assert (await register(client, ADDRESS.upper())).status_code == 409
    assert (await register(client, "bob@example.com")).json()["role"] == "user"


@pytest.mark.parametrize("field", [{"email": "ann"}, {"password": "short"}, {"role": "admin"}, {"password": None}])
async def test_refuses_an_invalid_registration(client: Client, field: dict[str, str | None]) -> None:
    answer = await client.post("/auth/register", json={"email": ADDRESS, "password": PASSWORD} | field)
    assert answer.status_code == 422


async def test_wrong_passwords_are_refused_and_then_limited(client: Client) -> None:
    await register(client)
    statuses = [(await log_in(client, "wrong horse 9")).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    assert (await log_in(client)).status_code == 429


async def test_using_a_refresh_token_twice_ends_the_session(client: Client) -> None:
    await register(client)
    first = (await log_in(client)).json()
    second = await refresh(client, first["refresh_token"])
    assert second.status_code == 200
    assert await status_of_me(client, second.json()["access_token"]) == 200
    assert (await refresh(client, first["refresh_token"])).status_code == 401
    assert await status_of_me(client, second.json()["access_token"]) == 401


async def test_logout_ends_both_tokens(client: Client) -> None:
    await register(client)
    tokens = (await log_in(client)).json()
    assert (await client.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})).status_code == 204
    assert await status_of_me(client, tokens["access_token"]) == 401
    assert (await refresh(client, tokens["refresh_token"])).status_code == 401


async def test_tokens_serve_one_purpose(client: Client) -> None:
    await register(client)
    tokens = (await log_in(client)).json()
    assert await status_of_me(client, tokens["refresh_token"]) == 401
    assert (await refresh(client, tokens["access_token"])).status_code == 401
