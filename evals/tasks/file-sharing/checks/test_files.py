"""The files of one person: what an upload answers, lists, downloads, new names, deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import samples
from answers import disposition, expect, media_type, moment
from people import FIELDS, Commits, Person, place


def test_answers_healthz(stranger: httpx.Client) -> None:
    answer = expect(stranger.get("/healthz"), 200)
    assert answer.json() == {"status": "ok"}, answer.text


def test_describes_an_upload(ann: Person, limit: int) -> None:
    for content in (samples.text(7), samples.text(limit - 3), samples.png()):
        name = f"{samples.word()}.dat"
        made = ann.keep(content, name)
        assert made["filename"] == name, f"filename is {made['filename']!r}, sent was {name!r}"
        assert made["size"] == len(content), f"size is {made['size']!r}, sent were {len(content)} bytes"
        wanted = hashlib.sha256(content).hexdigest()
        assert str(made["sha256"]).lower() == wanted, f"sha256 is {made['sha256']!r} instead of {wanted}"


def test_says_when_a_file_was_made(ann: Person) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    made = moment(ann.keep()["created_at"])
    assert before <= made <= datetime.now(UTC) + timedelta(seconds=2), (
        f"created_at is {made}, it is {datetime.now(UTC)}"
    )


@pytest.mark.parametrize("wanted", [samples.PNG, samples.JPEG, samples.PDF, samples.TEXT])
def test_accepts_each_allowed_type(ann: Person, wanted: str) -> None:
    made = ann.keep(samples.allowed()[wanted], f"{samples.word()}.bin", "application/octet-stream")
    assert media_type(made["content_type"]) == wanted, f"content_type is {made['content_type']!r} instead of {wanted}"


def test_judges_by_content_not_by_the_declared_type(ann: Person) -> None:
    for content, name, declared, wanted in (
        (samples.png(), "a.txt", "text/plain", samples.PNG),
        (samples.jpeg(), "a.png", "image/png", samples.JPEG),
        (samples.pdf(), "a.html", "text/html", samples.PDF),
        (samples.text(), "a.pdf", "application/pdf", samples.TEXT),
        (samples.text(), "a", None, samples.TEXT),
    ):
        made = ann.keep(content, name, declared)
        told = media_type(made["content_type"])
        assert told == wanted, f"{wanted} declared as {declared} under {name!r} became {told}"


def test_takes_a_pdf_of_ascii_for_a_pdf(ann: Person) -> None:
    made = ann.keep(samples.pdf(ascii_only=True), "a.pdf", "application/pdf")
    assert media_type(made["content_type"]) == samples.PDF, f"content_type is {made['content_type']!r}"


def test_accepts_text_of_any_script(ann: Person, limit: int) -> None:
    for content in (
        "\ufeffwith a byte order mark".encode(),
        b"one\r\ntwo\tthree\n",
        "\U0001f9ea naïve Ελληνικά עברית \u200d\n".encode(),
        b"x",
        samples.wide_text(limit - 10),
    ):
        made = ann.keep(content, "a.txt")
        assert media_type(made["content_type"]) == samples.TEXT, f"{content[:20]!r} became {made['content_type']!r}"
        assert made["size"] == len(content), f"{content[:20]!r}: size {made['size']} instead of {len(content)}"


def test_reads_the_metadata(ann: Person) -> None:
    made = ann.keep(samples.jpeg(), f"{samples.word()}.jpg", "image/jpeg")
    ann.keep()
    found = ann.read(made)
    assert {field: found.get(field) for field in FIELDS} == {field: made[field] for field in FIELDS}


def test_downloads_the_same_bytes(ann: Person, limit: int) -> None:
    contents = [*samples.allowed().values(), samples.text(limit - 1), "\ufeffword\r\n".encode()]
    files = [(ann.keep(content), content) for content in contents]
    for made, content in files:
        answer = expect(ann.content(made), 200)
        assert answer.content == content, f"{len(content)} bytes of {made['content_type']} came back otherwise"


def test_downloads_under_the_name(ann: Person) -> None:
    name = f"{samples.word()} {samples.word()} (1).txt"
    answer = expect(ann.content(ann.keep(name=name)), 200)
    assert disposition(answer) == ("attachment", name), answer.headers.get("content-disposition")


def test_keeps_names_of_any_script(ann: Person) -> None:
    for name in (
        f"résumé-{samples.word()}.pdf",
        f"Ελληνικά {samples.word()}.txt",
        f"報告-\U0001f9ea-{samples.word()}.txt",
    ):
        made = ann.keep(name=name)
        assert made["filename"] == name, f"{name!r} became {made['filename']!r}"
        answer = expect(ann.content(made), 200)
        assert disposition(answer) == ("attachment", name), answer.headers.get("content-disposition")


def test_lists_newest_first(newcomer: Callable[..., Person]) -> None:
    eve = newcomer()
    made = [eve.keep(name=f"{number}-{samples.word()}.txt") for number in range(4)]
    page = eve.listed()
    wanted = [file["filename"] for file in reversed(made)]
    assert [file.get("filename") for file in page["items"]] == wanted, page
    assert {field: page["items"][0].get(field) for field in FIELDS} == {field: made[-1][field] for field in FIELDS}


def test_pages_through_the_list(newcomer: Callable[..., Person]) -> None:
    eve = newcomer()
    made = [eve.keep(name=f"{number}.txt")["id"] for number in range(5)]
    pages = [eve.listed(limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [page["total"] for page in pages] == [5] * 4, pages
    found = [[file["id"] for file in page["items"]] for page in pages]
    newest = made[::-1]
    assert found == [newest[:2], newest[2:4], newest[4:], []], f"pages of two: {found}, made in this order: {made}"


def test_bounds_the_limit_of_a_page(ann: Person) -> None:
    for limit in (1, 100):
        expect(ann.client.get("/files", params={"limit": limit}), 200)
    for bad in ("0", "101", "-1", "100000", "ten"):
        expect(ann.client.get("/files", params={"limit": bad}), 422)


def test_an_empty_list_is_a_list(newcomer: Callable[..., Person]) -> None:
    page = newcomer().listed()
    assert page["items"] == [] and page["total"] == 0, page


def test_renames_a_file(ann: Person) -> None:
    made = ann.keep(samples.png(), "old.png", "image/png")
    name = f"{samples.word()} ü.png"
    expect(ann.rename(made, name), 200)
    found = ann.read(made)
    assert found["filename"] == name, f"renamed to {name!r}, it is {found['filename']!r}"
    kept = [field for field in FIELDS if field != "filename"]
    assert {field: found[field] for field in kept} == {field: made[field] for field in kept}
    answer = expect(ann.content(made), 200)
    assert disposition(answer) == ("attachment", name), answer.headers.get("content-disposition")


def test_deletes_a_file(newcomer: Callable[..., Person]) -> None:
    eve = newcomer()
    made, other = eve.keep(), eve.keep()
    answer = expect(eve.remove(made), 204)
    assert not answer.content, f"204 with a body: {answer.text[:200]}"
    expect(eve.client.get(place(made)), 404)
    expect(eve.content(made), 404)
    expect(eve.rename(made, "a.txt"), 404)
    expect(eve.share(made), 404)
    expect(eve.remove(made), 404)
    page = eve.listed()
    assert (page["total"], [file["id"] for file in page["items"]]) == (1, [other["id"]]), page


def test_answers_after_the_commit(
    newcomer: Callable[..., Person], stranger: httpx.Client, slow_commits: Commits
) -> None:
    eve = newcomer()
    again = newcomer(eve.id)
    with slow_commits(0.15):
        made = eve.keep()
        expect(again.client.get(place(made)), 200)
        expect(eve.rename(made, "new.txt"), 200)
        name = again.read(made)["filename"]
        assert name == "new.txt", f"PATCH answered 200, and the next request finds {name!r}"
        expect(stranger.get(eve.link(made)), 200)
        expect(eve.remove(made), 204)
        expect(again.client.get(place(made)), 404)


def test_reports_a_refused_commit(ann: Person, refused_commits: Commits) -> None:
    made = ann.keep()
    with refused_commits():
        uploaded = ann.send(samples.text())
        renamed = ann.rename(made, "other.txt")
        shared = ann.share(made)
    for what, answer in (("upload", uploaded), ("new name", renamed), ("link", shared)):
        assert answer.status_code >= 400, f"the database refused the {what}, the answer was {answer.status_code}"


def test_keeps_its_state_in_the_database(service: Any, ann: Person, connect: Any, uploads: Any) -> None:
    """What one process was told, a second one knows: after a restart, and where several workers serve."""
    import shutil
    from pathlib import Path

    content = samples.text()
    made = ann.keep(content)
    link = ann.link(made)
    with service.another(database="same") as second:
        shutil.copytree(uploads, Path(second.data) / "uploads", dirs_exist_ok=True)
        client = connect(base_url=second.url, headers={"authorization": f"Bearer {ann.token}"})
        assert expect(client.get(place(made, "/content")), 200).content == content
        shared = expect(connect(base_url=second.url).get(link), 200)
    assert shared.content == content, "a second process opens the link, but gives other bytes"
