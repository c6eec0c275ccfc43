"""What lies in the upload folder, and that nothing lies anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import pytest
import samples
import wire
from answers import expect, survived
from people import Commits, Person, Together
from wire import FORM_TYPE, form, part


def files(folder: Path, without: Path | None = None) -> set[Path]:
    found = set()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != without]
        found |= {Path(place, name) for name in names}
    return found


def holding(folder: Path, mark: bytes) -> list[Path]:
    """The files of the last moments that hold `mark`."""
    found = []
    for path in files(folder):
        try:
            known = path.stat()
            fresh = known.st_size >= len(mark) and known.st_mtime > time.time() - 5
            found += [path] if fresh and mark in path.read_bytes() else []
        except FileNotFoundError:
            continue
    return found


def settled(folder: Path, before: set[Path]) -> set[Path]:
    """What is new in the folder once the service had a moment to tidy up."""
    deadline = time.monotonic() + 0.6
    while (new := files(folder) - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return new


def test_stores_in_the_upload_folder(ann: Person, uploads: Path) -> None:
    content = samples.text()
    ann.keep(content)
    assert uploads.is_dir(), "UPLOAD_DIR was not made"
    assert holding(uploads, content), "no file below UPLOAD_DIR holds what was uploaded"


def test_deletion_removes_the_bytes(ann: Person, service: Any) -> None:
    content = samples.text()
    made = ann.keep(content)
    assert holding(service.data, content), "no file below UPLOAD_DIR holds what was uploaded"
    expect(ann.remove(made), 204)
    deadline = time.monotonic() + 0.6
    while (left := holding(service.data, content)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, f"after the deletion the bytes are still in {[path.name for path in left]}"


def test_names_never_leave_the_upload_folder(ann: Person, service: Any, uploads: Path) -> None:
    outside = files(service.data, uploads)
    mark, above = samples.word(), PurePosixPath(service.env["UPLOAD_DIR"]).parent
    content = samples.text()
    for name in (f"../{mark}.txt", f"../../{mark}.txt", f"{above}/{mark}.txt", f"..\\{mark}.txt", f"a/../../{mark}.txt",
                 f"%2e%2e%2f{mark}.txt", f"....//{mark}.txt"):  # fmt: skip
        survived(ann.send(content, name))
        found = files(service.data, uploads) - outside
        assert not found, f"the file name {name!r} wrote {sorted(path.name for path in found)} outside UPLOAD_DIR"


def test_ids_of_users_never_leave_the_upload_folder(
    newcomer: Callable[..., Person], service: Any, uploads: Path
) -> None:
    outside = files(service.data, uploads)
    above = PurePosixPath(service.env["UPLOAD_DIR"]).parent
    for subject in ("..", f"../{samples.word()}", f"{above}/{samples.word()}", f"{samples.word()}/../../up"):
        survived(newcomer(subject).send(samples.text()))
        found = files(service.data, uploads) - outside
        assert not found, f"sub {subject!r} wrote {sorted(path.name for path in found)} outside UPLOAD_DIR"


def test_equal_names_stay_apart(ann: Person, bob: Person) -> None:
    name = f"{samples.word()}.txt"
    contents = [samples.text() for _ in range(3)]
    owners = [ann, ann, bob]
    made = [owner.keep(content, name) for owner, content in zip(owners, contents, strict=True)]
    assert len({str(file["id"]) for file in made}) == 3, f"three files, these ids: {[file['id'] for file in made]}"
    for owner, file, content in zip(owners, made, contents, strict=True):
        assert expect(owner.content(file), 200).content == content, f"{name!r} was overwritten by another upload"


def test_names_on_disk_are_not_taken_from_clients(ann: Person, bob: Person, uploads: Path) -> None:
    """Somebody who calls a file what another one is called on disk does not replace it."""
    content = samples.text()
    made = ann.keep(content)
    for path in holding(uploads, content):
        for name in (str(path.relative_to(uploads)), path.name):
            survived(bob.send(samples.text(), name))
    assert expect(ann.content(made), 200).content == content, "another user's upload replaced the bytes"


def test_uploads_at_once_stay_apart(newcomer: Callable[..., Person], together: Together) -> None:
    eve = newcomer()
    people = [eve, *(newcomer(eve.id) for _ in range(4))]
    contents = [samples.text(20_000 + number) for number in range(len(people))]

    def upload(number: int) -> Callable[[], httpx.Response]:
        return lambda: people[number].send(contents[number], "same.txt")

    made = [expect(answer, 201).json() for answer in together([upload(number) for number in range(len(people))])]
    for file, content in zip(made, contents, strict=True):
        assert expect(eve.content(file), 200).content == content, "uploads at the same moment got mixed up"
    assert eve.listed()["total"] == len(people)


@pytest.mark.parametrize(
    "reason", ["too large", "too large without a length", "another type", "text that breaks off", "empty"]
)
def test_refused_uploads_leave_nothing(ann: Person, service: Any, limit: int, reason: str) -> None:
    before = files(service.data)
    if reason == "too large":
        answer = ann.send(samples.text(limit + 1))
    elif reason == "too large without a length":
        body = form(part(samples.text(limit + 150_000)))
        answer = ann.client.post("/files", content=iter([body]), headers={"content-type": FORM_TYPE})
    elif reason == "another type":
        answer = ann.send(samples.zipped(), "a.png", "image/png")
    elif reason == "text that breaks off":
        answer = ann.send(samples.text(200_000) + b"\xff")
    else:
        answer = ann.send(b"")
    assert answer.status_code >= 400, f"{reason}: {answer.status_code}"
    new = settled(service.data, before)
    assert not new, f"{reason}: refused with {answer.status_code}, it left {[path.name for path in new]}"


def test_abandoned_uploads_leave_nothing(ann: Person, service: Any, limit: int) -> None:
    before = files(service.data)
    headers = {"Authorization": f"Bearer {ann.token}"}
    wire.abandoned_upload(service.url, headers, promised=limit, sent=limit * 2 // 3)
    new = settled(service.data, before)
    assert not new, f"an upload that the client gave up left {[path.name for path in new]}"
    ann.listed(limit=1)


def test_a_refused_deletion_keeps_the_file(ann: Person, refused_commits: Commits) -> None:
    content = samples.text()
    made = ann.keep(content)
    with refused_commits():
        answer = ann.remove(made)
    assert answer.status_code >= 400, f"the database refused the deletion, the answer was {answer.status_code}"
    assert expect(ann.content(made), 200).content == content, "the bytes are gone although the deletion failed"


def test_of_two_deletions_both_are_answered(
    ann: Person, newcomer: Callable[..., Person], together: Together, slow_commits: Commits
) -> None:
    again = newcomer(ann.id)
    made = ann.keep()
    # Slow, so that both find the file before either has deleted it.
    with slow_commits(0.15):
        answers = together([lambda: ann.remove(made), lambda: again.remove(made)])
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([204, 204], [204, 404], [204, 409]), f"two deletions at once: {statuses}"
    expect(ann.client.get(f"/files/{made['id']}"), 404)


def test_tells_no_places_on_disk(ann: Person, stranger: httpx.Client, service: Any, uploads: Path) -> None:
    content = samples.text()
    made = ann.keep(content)
    stored = holding(uploads, content)
    shared = expect(ann.share(made), 201)
    answers = [
        ann.client.get(f"/files/{made['id']}"),
        ann.client.get("/files", params={"limit": 1}),
        shared,
        ann.content(made),
        ann.content(made, range="bytes=9999999-"),
        ann.send(b"\x7fELF\xff"),
        ann.send(b""),
        ann.client.post("/files", content=b"x", headers={"content-type": "multipart/form-data"}),
        ann.client.get("/files/..%2f..%2fx"),
        stranger.get("/nowhere"),
    ]
    for answer in answers:
        text = answer.text + str(answer.headers)
        for secret in (
            service.env["UPLOAD_DIR"],
            "Traceback",
            "site-packages",
            "sqlalchemy",
            *(f"/{path.name}" for path in stored),
        ):
            assert secret not in text, f"{answer.request.method} {answer.request.url} tells {secret!r}: {text[:300]}"
