"""What lies in the upload folder, and that nothing lies anywhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import samples
import wire
from answers import expect, refused, survived
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


def test_nothing_leaves_the_upload_folder(
    ann: Person, newcomer: Callable[..., Person], service: Any, uploads: Path
) -> None:
    """Neither by the name of a file nor by the id of its owner."""
    outside = files(service.data, uploads)
    mark, above = samples.word(), PurePosixPath(service.env["UPLOAD_DIR"]).parent
    for name in (
        f"../{mark}.txt",
        f"{above}/{mark}.txt",
        f"a/../../{mark}.txt",
        f"....//{mark}.txt",
    ):
        survived(ann.send(samples.text(), name))
    for subject in (f"../{mark}", f"{above}/{mark}", f"{mark}/../../up"):
        survived(newcomer(subject).send(samples.text()))
    found = files(service.data, uploads) - outside
    assert not found, f"written outside UPLOAD_DIR: {sorted(str(path.relative_to(service.data)) for path in found)}"


def test_equal_names_stay_apart(newcomer: Callable[..., Person], together: Together) -> None:
    """Files of one person and of another, uploaded at the same moment."""
    eve, name = newcomer(), f"{samples.word()}.txt"
    owners = [eve, newcomer(eve.id), newcomer()]
    contents = [samples.text(20_000 + number) for number in range(len(owners))]

    def upload(number: int) -> Callable[[], httpx.Response]:
        return lambda: owners[number].send(contents[number], name)

    made = [expect(answer, 201).json() for answer in together([upload(number) for number in range(len(owners))])]
    assert len({str(file["id"]) for file in made}) == len(made), (
        f"files with these ids: {[file['id'] for file in made]}"
    )
    for owner, file, content in zip(owners, made, contents, strict=True):
        assert expect(owner.content(file), 200).content == content, f"{name!r} was overwritten by another upload"
    assert eve.listed()["total"] == 2


def test_names_on_disk_are_not_taken_from_clients(ann: Person, bob: Person, uploads: Path) -> None:
    """Somebody who calls a file what another one is called on disk does not replace it."""
    content = samples.text()
    made = ann.keep(content)
    for path in holding(uploads, content):
        for name in (str(path.relative_to(uploads)), path.name):
            survived(bob.send(samples.text(), name))
    assert expect(ann.content(made), 200).content == content, "another user's upload replaced the bytes"


def test_refused_uploads_leave_nothing(ann: Person, service: Any, limit: int) -> None:
    before = files(service.data)
    body = form(part(samples.text(limit + 150_000)))
    for reason, answer in (
        ("too large", ann.send(samples.text(limit + 1))),
        ("too large", ann.client.post("/files", content=iter([body]), headers={"content-type": FORM_TYPE})),
        ("another type", ann.send(samples.zipped(), "a.png", "image/png")),
        ("text that breaks off", ann.send(samples.text(200_000) + b"\xff")),
        ("empty", ann.send(b"")),
    ):
        refused(answer)
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


def test_errors_tell_nothing(ann: Person, stranger: httpx.Client, service: Any, uploads: Path) -> None:
    """Neither places on the disk nor the inside of the program nor the token that was refused."""
    content = samples.text()
    made = ann.keep(content)
    forged = f"{samples.word(30)}.{samples.word(30)}.{samples.word(30)}"
    answers = [
        ann.client.get(f"/files/{made['id']}"),
        ann.content(made, range="bytes=9999999-"),
        ann.send(b"\x7fELF\xff"),
        ann.send(b""),
        ann.client.post("/files", content=b"x", headers={"content-type": "multipart/form-data"}),
        ann.client.get("/files/..%2f..%2fx"),
        stranger.get("/files", headers={"authorization": f"Bearer {forged}"}),
    ]
    places = (service.env["UPLOAD_DIR"], *(f"/{path.name}" for path in holding(uploads, content)))
    for answer in answers:
        text = answer.text + str(answer.headers)
        for secret in (*places, "Traceback", "site-packages", "sqlalchemy", forged):
            assert secret not in text, f"{answer.request.method} {answer.request.url} tells {secret!r}: {text[:300]}"
