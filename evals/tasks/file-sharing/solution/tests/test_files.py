import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.upload_settings import UploadSettings

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
Headers = dict[str, str]


async def upload(client: httpx2.AsyncClient, who: Headers, content: bytes, name: str = "notes.txt") -> httpx2.Response:
    return await client.post("/files", files={"file": (name, content, "text/html")}, headers=who)


async def keep(client: httpx2.AsyncClient, who: Headers, content: bytes = b"text", name: str = "notes.txt") -> Any:
    answer = await upload(client, who, content, name)
    assert answer.status_code == 201, answer.text
    return answer.json()


def stored(settings: UploadSettings) -> list[Path]:
    return sorted(settings.upload_dir.iterdir())


async def test_uploads_and_downloads(client: httpx2.AsyncClient, ann: Headers, settings: UploadSettings) -> None:
    content = b"\xef\xbb\xbf" + "语".encode() * 20_000
    made = await keep(client, ann, content)
    assert (made["size"], made["content_type"]) == (len(content), "text/plain")
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await client.get(f"/files/{made['id']}", headers=ann)).json() == made
    answer = await client.get(f"/files/{made['id']}/content", headers=ann)
    assert answer.content == content
    assert answer.headers["content-disposition"] == 'attachment; filename="notes.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert [path.name for path in stored(settings)] != ["notes.txt"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (PNG, 201),
        (b"\xff\xd8\xff\xe0" + bytes(20), 201),
        (b"%PDF-1.7\n", 201),
        (b"x" * 100_000, 201),
        (b"x" * 100_001, 413),
        (b"", 422),
        (b"PK\x03\x04" + bytes(30), 415),
        (b"text and NUL\0", 415),
        (b"x" * 70_000 + b"\xff", 415),
        ("语".encode()[:2], 415),
    ],
    ids=range(10),
)
async def test_judges_by_content_and_size(
    client: httpx2.AsyncClient, ann: Headers, settings: UploadSettings, content: bytes, status: int
) -> None:
    answer = await upload(client, ann, content, "a.png")
    assert answer.status_code == status, answer.text
    assert len(stored(settings)) == (status == 201)


async def test_counts_what_has_no_length(client: httpx2.AsyncClient, ann: Headers, settings: UploadSettings) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(20):
            yield b"x" * 50_000

    headers = ann | {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await client.post("/files", content=body(), headers=headers)
    assert answer.status_code == 413
    assert stored(settings) == []


async def test_missing_field(client: httpx2.AsyncClient, ann: Headers) -> None:
    assert (await client.post("/files", files={"other": b"x"}, headers=ann)).status_code == 422


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "a\x7f\u202eevil.txt", ".."])
async def test_names_are_no_paths(client: httpx2.AsyncClient, ann: Headers, name: str) -> None:
    made = await keep(client, ann, name=name)
    assert made["filename"] in {"evil.txt", "aevil.txt", "file"}


async def test_lists_newest_first(client: httpx2.AsyncClient, ann: Headers, bob: Headers) -> None:
    made = [await keep(client, ann, name=f"{number}.txt") for number in range(3)]
    await keep(client, bob)
    page = (await client.get("/files", params={"limit": 2, "offset": 1}, headers=ann)).json()
    assert page == {"items": [made[1], made[0]], "total": 3}
    assert (await client.get("/files", params={"limit": 101}, headers=ann)).status_code == 422


async def test_renames(client: httpx2.AsyncClient, ann: Headers) -> None:
    made = await keep(client, ann)
    url = f"/files/{made['id']}"
    answer = await client.patch(url, json={"filename": "отчёт.html"}, headers=ann)
    assert answer.json() == made | {"filename": "отчёт.html"}
    download = await client.get(f"{url}/content", headers=ann)
    assert download.headers["content-type"] == "text/plain; charset=utf-8"
    assert download.headers["content-disposition"].startswith("attachment; filename*=utf-8''%D0%BE")
    for bad in ("", "a/b", "..", "a\r\nb", "\ud800", "x" * 256, None):
        body = json.dumps({"filename": bad})
        answer = await client.patch(url, content=body, headers=ann | {"Content-Type": "application/json"})
        assert answer.status_code == 422, bad


async def test_answers_ranges(client: httpx2.AsyncClient, ann: Headers) -> None:
    url = f"/files/{(await keep(client, ann, b'0123456789'))['id']}/content"
    part = await client.get(url, headers=ann | {"Range": "bytes=-3"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"789", "bytes 7-9/10")
    assert (await client.get(url, headers=ann | {"Range": "bytes=10-"})).status_code == 416


async def test_deletes_row_and_bytes(client: httpx2.AsyncClient, ann: Headers, settings: UploadSettings) -> None:
    made = await keep(client, ann)
    assert (await client.delete(f"/files/{made['id']}", headers=ann)).status_code == 204
    assert (await client.delete(f"/files/{made['id']}", headers=ann)).status_code == 404
    assert stored(settings) == []


async def test_others_find_nothing(client: httpx2.AsyncClient, ann: Headers, bob: Headers) -> None:
    url = f"/files/{(await keep(client, ann))['id']}"
    answers = [
        await client.get(url, headers=bob),
        await client.get(f"{url}/content", headers=bob),
        await client.patch(url, json={"filename": "b"}, headers=bob),
        await client.post(f"{url}/share", json={"expires_in": 60}, headers=bob),
        await client.delete(url, headers=bob),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert (await client.get(url, headers=ann)).status_code == 200


async def test_missing_bytes_are_not_found(client: httpx2.AsyncClient, ann: Headers, settings: UploadSettings) -> None:
    made = await keep(client, ann)
    stored(settings)[0].unlink()
    assert (await client.get(f"/files/{made['id']}/content", headers=ann)).status_code == 404
