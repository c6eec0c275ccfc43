import uuid

import httpx2
import pytest

pytestmark = pytest.mark.anyio

Client = httpx2.AsyncClient
PASSWORD = "correct horse 9"


async def account(client: Client, email: str) -> tuple[str, dict[str, str]]:
    """The id of a new account, and the header that its owner sends."""
    made = await client.post("/auth/register", json={"email": email, "password": PASSWORD})
    tokens = await client.post("/auth/login", data={"username": email, "password": PASSWORD})
    return made.json()["id"], {"Authorization": f"Bearer {tokens.json()['access_token']}"}


async def test_changes_the_own_profile(client: Client) -> None:
    _, ann = await account(client, "ann@example.com")
    changed = await client.patch("/users/me", json={"full_name": "Ann"}, headers=ann)
    assert changed.json()["full_name"] == "Ann"
    assert (await client.patch("/users/me", json={"full_name": None}, headers=ann)).json()["full_name"] is None
    for refused in ({"role": "admin"}, {"password": None}, {"password": "short"}):
        assert (await client.patch("/users/me", json=refused, headers=ann)).status_code == 422
    assert (await client.get("/users/me", headers=ann)).json()["full_name"] is None


async def test_only_an_admin_sees_and_deletes_accounts(client: Client) -> None:
    _, admin = await account(client, "ann@example.com")
    bobs_id, bob = await account(client, "bob@example.com")
    assert (await client.get("/users")).status_code == 401
    assert (await client.get("/users", headers=bob)).status_code == 403
    assert (await client.delete(f"/users/{bobs_id}", headers=bob)).status_code == 403
    assert (await client.get("/users", headers=admin)).json()["total"] == 2
    assert (await client.delete(f"/users/{bobs_id}", headers=admin)).status_code == 204
    assert (await client.delete(f"/users/{bobs_id}", headers=admin)).status_code == 404
    assert (await client.delete(f"/users/{uuid.uuid4()}", headers=admin)).status_code == 404
    assert (await client.get("/users/me", headers=bob)).status_code == 401
