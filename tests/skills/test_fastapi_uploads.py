"""What the blocks of fastapi-uploads promise, over real HTTP, on SQLite and on PostgreSQL."""

import hashlib
import io
import secrets
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

BLOCKS = ("upload_settings", "bearer", "sniffing", "filenames", "storage", "downloads", "files", "share_links")
KEY = secrets.token_hex(32)
LIMIT = 400_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
JPEG = b"\xff\xd8\xff\xe0" + bytes(64)
PDF = b"%PDF-1.7\n" + b"\xe2\xe3" * 30
STORAGE = "    app.state.storage = Storage(settings.upload_dir, settings.max_upload_bytes)\n"
PREPARED = "        await to_thread.run_sync(app.state.storage.prepare)\n"
IMPORTS = (
    "from .schema import prepare_schema\nfrom .storage import Storage\nfrom .upload_settings import UploadSettings\n"
)
CHANGES = (
    ("from .settings import Settings\n", ""),
    ("Settings", "UploadSettings"),
    ("from .schema import prepare_schema\n", IMPORTS),
    ("from asgi_correlation_id", "from anyio import to_thread\nfrom asgi_correlation_id"),
    ("max_body_size=settings.max_body_bytes", "max_body_size=settings.max_upload_bytes + files.FORM_OVERHEAD"),
    ("    try:\n        await prepare_schema", STORAGE + "    try:\n" + PREPARED + "        await prepare_schema"),
)


@pytest.fixture(scope="session")
def sharing(assemble: Any) -> Any:
    """The blocks as SKILL.md says: the changes to application.py."""
    workspace = assemble(*BLOCKS)
    workspace.route("files", "share_links")
    application = workspace.path / "app" / "application.py"
    text = application.read_text()
    for old, new in CHANGES:
        assert old in text, old
        text = text.replace(old, new)
    application.write_text(text)
    return workspace


@pytest.fixture(scope="session")
def sharing_service(sharing: Any, fresh_url: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("data") / "made" / "uploads"
    env = {"SECRET_KEY": KEY, "UPLOAD_DIR": str(folder), "MAX_UPLOAD_BYTES": str(LIMIT)}
    with sharing.serve(DATABASE_URL=fresh_url(), **env) as service:
        service.folder = folder
        yield service


def token(subject: str = "", key: str = KEY, **claims: Any) -> str:
    whole = {"sub": subject or secrets.token_hex(6), "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in whole.items() if value is not None}, key, "HS256")


def signed_in(service: Any, bearer: str) -> httpx.Client:
    client: httpx.Client = service.client(headers={"authorization": f"Bearer {bearer}"})
    return client


@pytest.fixture
def ann(sharing_service: Any) -> Iterator[httpx.Client]:
    with signed_in(sharing_service, token()) as client:
        yield client


@pytest.fixture
def stranger(sharing_service: Any) -> Iterator[httpx.Client]:
    with sharing_service.client() as client:
        yield client


def send(client: httpx.Client, content: bytes, name: str = "a.txt", declared: str = "text/plain") -> httpx.Response:
    return client.post("/files", files={"file": (name, content, declared)})


def keep(client: httpx.Client, content: bytes = b"text", name: str = "a.txt") -> dict[str, Any]:
    answer = send(client, content, name)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def tar() -> bytes:
    """Valid UTF-8, like every archive of ASCII files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (PDF, "application/pdf"),
        (b"%PDF-1.4 in ASCII", "application/pdf"),
        ("\ufeffZoë\r\n".encode(), "text/plain"),
        ("語".encode() * (LIMIT // 3), "text/plain"),
        (b"<!doctype html><script>", "text/plain"),
    ],
    ids=["png", "jpeg", "pdf", "ascii pdf", "bom", "characters across chunks", "html"],
)
def test_type_is_that_of_the_bytes(ann, stranger, content, kind):
    made = send(ann, content, "x.html", "text/html").json()
    assert (made["content_type"], made["size"]) == (kind, len(content))
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    link = ann.post(f"/files/{made['id']}/share", json={"expires_in": 60}).json()["url"]
    for answer in (ann.get(f"/files/{made['id']}/content"), stranger.get(link)):
        assert answer.content == content
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert answer.headers["content-disposition"] == 'attachment; filename="x.html"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GIF89a" + bytes(20), 415),
        (b"PK\x03\x04" + b"\xff" * 20, 415),
        (tar(), 415),
        ("text".encode("utf-16"), 415),
        (b"x" * (LIMIT - 10) + b"\xff", 415),
        ("cut 語".encode()[:-1], 415),
        (b"", 422),
        (b"x" * (LIMIT + 1), 413),
        (b"x" * (LIMIT + 200_000), 413),
    ],
    ids=["gif", "zip", "tar", "utf-16", "bad end", "cut", "empty", "one more", "far more"],
)
def test_refusals_leave_nothing(sharing_service, ann, content, status):
    before = names_in(sharing_service.folder)
    assert send(ann, content).status_code == status
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert ann.post("/files", content=iter([body]), headers=headers).status_code == status
    assert names_in(sharing_service.folder) == before


def test_exactly_the_limit_is_taken(ann):
    assert keep(ann, b"x" * LIMIT, "n" * 200 + ".txt")["size"] == LIMIT


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../evil.png", "evil.png"),
        ("/etc/passwd", "passwd"),
        ("C:\\x\\evil.txt", "evil.txt"),
        ("..", "file"),
        ("Zoë 報告.pdf", "Zoë 報告.pdf"),
        ("fdp.\u202etxt", "fdp.txt"),
        ("n" * 300 + ".txt", "n" * 251 + ".txt"),
    ],
)
def test_names_are_repaired_and_stay_off_the_disk(sharing_service, ann, sent, kept):
    data = sharing_service.folder.parent.parent
    before = names_in(data)
    assert keep(ann, name=sent)["filename"] == kept
    (new,) = names_in(data) - before
    assert len(new) == 32
    assert (sharing_service.folder / new).read_bytes() == b"text"


@pytest.mark.parametrize("name", ["", "  ", "..", "a/b", "a\\b", "a\r\nX: 1", "a\0b", "\u202ea", "n" * 256, None, 7])
def test_new_names_are_refused_rather_than_repaired(ann, name):
    made = keep(ann)
    assert ann.patch(f"/files/{made['id']}", json={"filename": name}).status_code == 422
    assert ann.get(f"/files/{made['id']}").json() == made


def test_quotes_in_a_name_add_no_parameter(ann):
    made = keep(ann)
    name = "a\"; filename*=UTF-8''evil.exe; x=\".txt"
    assert ann.patch(f"/files/{made['id']}", json={"filename": name}).json()["filename"] == name
    assert "evil.exe;" not in ann.get(f"/files/{made['id']}/content").headers["content-disposition"]


def test_others_find_nothing(sharing_service, ann):
    made = keep(ann, b"private", "mine.txt")
    place = f"/files/{made['id']}"
    with signed_in(sharing_service, token()) as bob:
        answers = [
            bob.get(place),
            bob.get(f"{place}/content"),
            bob.patch(place, json={"filename": "b.txt"}),
            bob.post(f"{place}/share", json={"expires_in": 60}),
            bob.delete(place),
        ]
        assert [answer.status_code for answer in answers] == [404] * 5
        assert bob.get("/files").json() == {"items": [], "total": 0}
    assert ann.get(place).json() == made


def test_lists_are_pages_newest_first(ann):
    made = [keep(ann, name=f"{number}.txt") for number in range(3)][::-1]
    assert ann.get("/files").json() == {"items": made, "total": 3}
    assert ann.get("/files", params={"limit": 1, "offset": 1}).json() == {"items": made[1:2], "total": 3}
    assert {ann.get("/files", params={"limit": bad}).status_code for bad in (0, 101)} == {422}


def test_ranges(ann):
    made = keep(ann, b"0123456789")
    place = f"/files/{made['id']}/content"
    part = ann.get(place, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert part.headers["content-disposition"].startswith("attachment")
    assert ann.get(place, headers={"range": "bytes=10-"}).status_code == 416


def test_deletion_ends_links_and_bytes(sharing_service, ann, stranger):
    before = names_in(sharing_service.folder)
    made = keep(ann)
    link = ann.post(f"/files/{made['id']}/share", json={"expires_in": 60}).json()["url"]
    assert stranger.get(link).status_code == 200

    def delete(_: int) -> int:
        with sharing_service.client(headers=ann.headers) as client:
            return int(client.delete(f"/files/{made['id']}").status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(delete, range(2))) == [204, 404]
    assert names_in(sharing_service.folder) == before
    assert stranger.get(link).status_code == 404


def test_missing_bytes_are_not_found(sharing_service, ann):
    before = names_in(sharing_service.folder)
    made = keep(ann)
    (new,) = names_in(sharing_service.folder) - before
    (sharing_service.folder / new).unlink()
    assert ann.get(f"/files/{made['id']}/content").status_code == 404
    assert sharing_service.events(event="the bytes of a stored file are missing", key=new)
    assert ann.delete(f"/files/{made['id']}").status_code == 204


def test_links_expire_and_are_no_tokens(sharing_service, ann, stranger):
    made = keep(ann)
    place = f"/files/{made['id']}/share"
    assert {ann.post(place, json={"expires_in": bad}).status_code for bad in (0, 604_801, None, "x")} == {422}
    short, long = (ann.post(place, json={"expires_in": life}).json() for life in (1, 604_800))
    secret = long["url"].rpartition("=")[2]
    with signed_in(sharing_service, secret) as forger:
        assert forger.get("/files").status_code == 401
    assert stranger.get("/shared", params={"token": token()}).status_code == 404
    assert stranger.get("/shared", params={"token": "\u8a9e\0"}).status_code == 404
    assert stranger.post(long["url"]).status_code == 405
    time.sleep(1.05)
    assert stranger.get(short["url"]).status_code == 404
    assert stranger.get(long["url"]).content == b"text"
    assert secret not in sharing_service.log()


def test_a_link_is_a_path_whatever_the_host_header_says(ann):
    made = keep(ann)
    answer = ann.post(f"/files/{made['id']}/share", json={"expires_in": 5}, headers={"host": "evil.example"})
    assert answer.json()["url"].startswith("/shared?token=")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(".", id="nearly nothing"),
        pytest.param("a.b.c", id="rubbish"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**40}, None, "none"), id="unsigned"),
        pytest.param(token(key=secrets.token_hex(32)), id="other key"),
        pytest.param(jwt.encode({"sub": "a", "exp": 2**33}, KEY, "HS512"), id="other algorithm"),
        pytest.param(token(exp=None), id="no exp"),
        pytest.param(token(exp=1), id="expired"),
        pytest.param(token(exp=float("inf")), id="endless exp"),
        pytest.param(token(nbf=2**33), id="not yet"),
        pytest.param(token("x" * 256), id="long sub"),
        pytest.param(token("a\0b"), id="nul in sub"),
    ],
)
def test_bad_tokens_are_all_the_same_401(sharing_service, bad):
    with signed_in(sharing_service, bad) as client:
        answer = client.get("/files")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(bad) < 2 or bad not in answer.text


def test_ids_are_told_apart_to_the_letter(sharing_service):
    name = secrets.token_hex(6)
    with signed_in(sharing_service, token(f"auth0|{name}")) as owner:
        keep(owner)
        assert owner.get("/files").json()["total"] == 1
    for similar in (f"AUTH0|{name}", f"auth0|{name} ", f"../auth0|{name}"):
        with signed_in(sharing_service, token(similar)) as other:
            assert other.get("/files").json()["total"] == 0


ABANDONED = """
import os, pathlib, sys, time
from app.storage import ABANDONED_S, Storage

storage = Storage(pathlib.Path(sys.argv[1]), 10)
storage.prepare()
for name, age in (("old.part", ABANDONED_S + 60), ("new.part", 0), ("whole", ABANDONED_S + 60)):
    path = storage.path(name)
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
storage.prepare()
print(*sorted(path.name for path in storage.folder.iterdir()))
print(oct(storage.folder.stat().st_mode & 0o777))
"""


def test_what_killed_uploads_left_is_removed_at_the_start(sharing, tmp_path):
    assert sharing.check("-c", ABANDONED, str(tmp_path / "made" / "uploads")).split() == ["new.part", "whole", "0o700"]


def test_a_refused_commit_leaves_no_bytes_and_loses_none(sharing, fresh_postgres, tmp_path):
    database = fresh_postgres()
    env = {"SECRET_KEY": KEY, "UPLOAD_DIR": str(tmp_path), "MAX_UPLOAD_BYTES": str(LIMIT)}
    with sharing.serve(DATABASE_URL=database.url, **env) as service, signed_in(service, token()) as client:
        made = keep(client)
        before = names_in(tmp_path)
        with database.connect() as admin:
            admin.execute(
                "create function refuse() returns trigger language plpgsql as "
                "$$begin raise exception 'refused' using errcode = '40001'; end$$"
            )
            admin.execute(
                "create constraint trigger refuse after insert or delete on files "
                "deferrable initially deferred for each row execute function refuse()"
            )
        assert send(client, b"another").status_code == 503
        assert client.delete(f"/files/{made['id']}").status_code == 503
        assert names_in(tmp_path) == before
        assert client.get(f"/files/{made['id']}/content").content == b"text"


REQUIRED = """
import os, sys
from pydantic import ValidationError
from app.upload_settings import UploadSettings

for env in ({"UPLOAD_DIR": "x"}, {"SECRET_KEY": "k" * 64}, {"UPLOAD_DIR": "x", "SECRET_KEY": "too short"}):
    os.environ.pop("UPLOAD_DIR", None), os.environ.pop("SECRET_KEY", None)
    os.environ.update(env)
    try:
        UploadSettings.model_validate({})
    except ValidationError as error:
        print(error)
    else:
        sys.exit(f"accepted: {env}")
"""


def test_key_and_folder_are_required(sharing):
    said = sharing.check("-c", REQUIRED, DATABASE_URL="sqlite+aiosqlite:///x.db")
    assert "too short" not in said


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache", "app"), ("ruff", "format", "--no-cache", "--check", "app"), ("mypy", "app")],
    ids=" ".join,
)
def test_upload_blocks_are_clean(sharing: Any, command: tuple[str, ...]) -> None:
    sharing.check("-m", *command)
