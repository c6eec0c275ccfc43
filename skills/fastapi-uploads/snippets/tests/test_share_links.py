import httpx2
import pytest
from fastapi import FastAPI

from app.bearer import current_user

pytestmark = pytest.mark.anyio


async def test_a_link_opens_one_file_until_the_file_goes(app: FastAPI, client: httpx2.AsyncClient) -> None:
    app.dependency_overrides[current_user] = lambda: "ann"
    file = (await client.post("/files", files={"file": ("a.txt", b"text", "text/plain")})).json()
    made = await client.post(f"/files/{file['id']}/share", json={"expires_in": 60})
    assert made.status_code == 201, made.text
    app.dependency_overrides.clear()
    assert (await client.get(made.json()["url"])).content == b"text"
    assert (await client.get("/shared?token=unknown")).status_code == 404
    app.dependency_overrides[current_user] = lambda: "ann"
    assert (await client.delete(f"/files/{file['id']}")).status_code == 204
    assert (await client.get(made.json()["url"])).status_code == 404


@pytest.mark.parametrize("seconds", [0, 604_801, None])
async def test_a_link_is_bounded_in_time(app: FastAPI, client: httpx2.AsyncClient, seconds: int | None) -> None:
    app.dependency_overrides[current_user] = lambda: "ann"
    file = (await client.post("/files", files={"file": ("a.txt", b"text", "text/plain")})).json()
    assert (await client.post(f"/files/{file['id']}/share", json={"expires_in": seconds})).status_code == 422
