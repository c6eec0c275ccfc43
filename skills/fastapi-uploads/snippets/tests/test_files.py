import httpx2
import pytest
from fastapi import FastAPI

from app.bearer import current_user

pytestmark = pytest.mark.anyio

Client = httpx2.AsyncClient
PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


@pytest.fixture
def caller(app: FastAPI) -> dict[str, str]:
    """Who calls: `caller["id"] = "bob"` makes the next requests those of somebody else."""
    who = {"id": "ann"}
    app.dependency_overrides[current_user] = lambda: who["id"]
    return who


async def upload(client: Client, content: bytes = PNG, name: str = "a.png") -> httpx2.Response:
    return await client.post("/files", files={"file": (name, content, "text/html")})


async def test_needs_a_token(client: Client) -> None:
    assert (await client.get("/files")).status_code == 401
    assert (await upload(client)).status_code == 401


async def test_gives_back_what_was_stored(client: Client, caller: dict[str, str]) -> None:
    made = await upload(client, name="../a.png")
    assert made.status_code == 201, made.text
    assert (made.json()["filename"], made.json()["content_type"]) == ("a.png", "image/png")
    url = f"/files/{made.json()['id']}"
    found = await client.get(f"{url}/content")
    assert found.content == PNG
    assert found.headers["content-disposition"].startswith("attachment")
    part = await client.get(f"{url}/content", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, PNG[:4])
    assert (await client.patch(url, json={"filename": "b.png"})).json()["filename"] == "b.png"
    assert [file["filename"] for file in (await client.get("/files")).json()["items"]] == ["b.png"]
    assert (await client.delete(url)).status_code == 204
    assert (await client.get(f"{url}/content")).status_code == 404


@pytest.mark.parametrize(("content", "status"), [(b"", 422), (b"\0\1\2", 415), (b"PK\3\4" + bytes(9), 415)])
async def test_refuses_by_content(client: Client, caller: dict[str, str], content: bytes, status: int) -> None:
    assert (await upload(client, content)).status_code == status
    assert (await client.get("/files")).json()["total"] == 0


async def test_other_peoples_files_are_not_found(client: Client, caller: dict[str, str]) -> None:
    url = f"/files/{(await upload(client)).json()['id']}"
    caller["id"] = "bob"
    assert (await client.get("/files")).json()["total"] == 0
    answers = [
        await client.get(url),
        await client.get(f"{url}/content"),
        await client.patch(url, json={"filename": "b.png"}),
        await client.delete(url),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    caller["id"] = "ann"
    assert (await client.get(url)).json()["filename"] == "a.png"
