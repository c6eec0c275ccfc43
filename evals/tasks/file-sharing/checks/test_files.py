"""The files of one person: what an upload answers, lists, downloads, new names, deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import samples
from answers import disposition, expect, media_type, moment
from people import FIELDS, Commits, Person, Together, link_in, place


def test_answers_healthz(stranger: httpx.Client) -> None:
    answer = expect(stranger.get("/healthz"), 200)
    assert answer.json() == {"status": "ok"}, answer.text


def test_describes_an_upload(ann: Person, limit: int) -> None:
    for content in (samples.text(7), samples.text(limit - 3)):
        name = f"{samples.word()}.dat"
        begun = datetime.now(UTC)
        made = ann.keep(content, name)
        assert made["filename"] == name, f"filename is {made['filename']!r}, sent was {name!r}"
        assert made["size"] == len(content), f"size is {made['size']!r}, sent were {len(content)} bytes"
        wanted = hashlib.sha256(content).hexdigest()
        assert str(made["sha256"]).lower() == wanted, f"sha256 is {made['sha256']!r} instead of {wanted}"
        told, grace = moment(made["created_at"]), timedelta(seconds=2)
        assert begun - grace <= told <= datetime.now(UTC) + grace, f"created_at is {told}, uploaded at {begun}"


def test_accepts_each_allowed_type(ann: Person) -> None:
    for wanted, content in (*samples.allowed().items(), (samples.PDF, samples.pdf(ascii_only=True))):
        told = ann.keep(content, f"{samples.word()}.{wanted.rpartition('/')[2]}", wanted)["content_type"]
        assert media_type(told) == wanted, f"content_type is {told!r} instead of {wanted}: {content[:8]!r}"


def test_judges_by_content_not_by_the_declared_type(ann: Person) -> None:
    for content, extension, declared, wanted in (
        (samples.png(), ".txt", "text/plain", samples.PNG),
        (samples.pdf(), ".html", "text/html", samples.PDF),
        (samples.text(), ".png", "image/png", samples.TEXT),
        (samples.text(), "", None, samples.TEXT),
    ):
        told = ann.keep(content, samples.word() + extension, declared)["content_type"]
        assert media_type(told) == wanted, f"{wanted} declared as {declared} and named {extension!r} became {told!r}"


def test_accepts_text_of_any_script(ann: Person, limit: int) -> None:
    for content in (
        "\ufeffwith a byte order mark\r\n\ttab".encode(),
        "\U0001f9ea naïve Ελληνικά עברית \u200d\n".encode(),
        b"x",
        samples.wide_text(limit - 10),
    ):
        made = ann.keep(content)
        assert media_type(made["content_type"]) == samples.TEXT, f"{content[:20]!r} became {made['content_type']!r}"
        assert made["size"] == len(content), f"{content[:20]!r}: size {made['size']} instead of {len(content)}"


def test_reads_the_metadata(ann: Person) -> None:
    made = ann.keep(samples.jpeg(), f"{samples.word()}.jpg", "image/jpeg")
    ann.keep()
    found = ann.read(made)
    assert {field: found.get(field) for field in FIELDS} == {field: made[field] for field in FIELDS}


def test_downloads_the_same_bytes(ann: Person, limit: int) -> None:
    contents = [samples.png(), samples.text(limit - 1), "\ufeffword\r\n".encode()]
    files = [(ann.keep(content), content) for content in contents]
    for made, content in files:
        answer = expect(ann.content(made), 200)
        assert answer.content == content, f"{len(content)} bytes of {made['content_type']} came back otherwise"


def test_downloads_under_the_name(ann: Person) -> None:
    for name in (
        f"{samples.word()} {samples.word()} (1).txt",
        f"résumé-{samples.word()}.pdf",
        f"報告-\U0001f9ea-{samples.word()}.txt",
    ):
        made = ann.keep(name=name)
        assert made["filename"] == name, f"{name!r} became {made['filename']!r}"
        answer = expect(ann.content(made), 200)
        assert disposition(answer) == ("attachment", name), answer.headers.get("content-disposition")


def test_lists_newest_first(newcomer: Callable[..., Person]) -> None:
    eve = newcomer()
    made = [eve.keep() for _ in range(3)][::-1]
    newest = eve.listed()["items"]
    assert [file["id"] for file in newest] == [file["id"] for file in made], f"made in this order: {made[::-1]}"
    assert {field: newest[0].get(field) for field in FIELDS} == {field: made[0][field] for field in FIELDS}
    pages = [eve.listed(limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [page["total"] for page in pages] == [3] * 3, pages
    found = [[file["id"] for file in page["items"]] for page in pages]
    ids = [file["id"] for file in made]
    assert found == [ids[:2], ids[2:], []], f"pages of two: {found}, newest first they are {ids}"


def test_bounds_the_limit_of_a_page(ann: Person) -> None:
    for limit in (1, 100):
        expect(ann.client.get("/files", params={"limit": limit}), 200)
    for bad in ("0", "101", "-1", "ten"):
        expect(ann.client.get("/files", params={"limit": bad}), 422)


def test_renames_a_file(ann: Person) -> None:
    made = ann.keep(samples.png(), "old.png", "image/png")
    name = f"{samples.word()} ü.png"
    expect(ann.rename(made, name), 200)
    found = ann.read(made)
    assert found["filename"] == name, f"renamed to {name!r}, it is {found['filename']!r}"
    kept = [field for field in FIELDS if field != "filename"]
    assert {field: found[field] for field in kept} == {field: made[field] for field in kept}
    answer = expect(ann.content(made), 200)
    assert disposition(answer)[1] == name, answer.headers.get("content-disposition")


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


def test_answers_after_the_commit(newcomer: Callable[..., Person], together: Together, slow_commits: Commits) -> None:
    """What was answered is there for the next request, although the database takes its time."""
    eve = newcomer()
    files = [eve.keep() for _ in range(3)]

    def uploads() -> None:
        made = newcomer(eve.id).keep()
        expect(newcomer(eve.id).client.get(place(made)), 200)

    def renames() -> None:
        expect(newcomer(eve.id).rename(files[0], "new.txt"), 200)
        name = newcomer(eve.id).read(files[0])["filename"]
        assert name == "new.txt", f"PATCH answered 200, and the next request finds {name!r}"

    def shares() -> None:
        link = newcomer(eve.id).link(files[1])
        expect(newcomer().client.get(link), 200)

    def deletes() -> None:
        expect(newcomer(eve.id).remove(files[2]), 204)
        expect(newcomer(eve.id).client.get(place(files[2])), 404)

    with slow_commits(0.6):
        together([uploads, renames, shares, deletes])


def test_reports_a_refused_commit(ann: Person, refused_commits: Commits, stranger: httpx.Client) -> None:
    made = ann.keep(name="old.txt")
    with refused_commits():
        uploaded = ann.send(samples.text())
        renamed = ann.rename(made, "other.txt")
        shared = ann.share(made)
    for what, answer in (("upload", uploaded), ("new name", renamed)):
        assert answer.status_code >= 400, f"the database refused the {what}, the answer was {answer.status_code}"
    # A link that is signed needs no database.
    if shared.status_code == 201:
        expect(stranger.get(link_in(shared)), 200)
