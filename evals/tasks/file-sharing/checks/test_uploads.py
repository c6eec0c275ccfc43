"""What is refused, and at which size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import samples
import wire
from answers import disposition, expect, media_type, refused, survived
from people import Person, place
from wire import FORM_TYPE, field, form, part


def test_refuses_other_types(ann: Person) -> None:
    declarations = itertools.cycle((("a.png", "image/png"), ("a.txt", "text/plain"), ("a", None)))
    for (kind, content), (name, declared) in zip(samples.foreign().items(), declarations, strict=False):
        answer = ann.send(content, name, declared)
        assert answer.status_code == 415, f"{kind} as {declared} -> {answer.status_code}: {answer.text[:300]}"


def test_refuses_binary_that_decodes_as_text(ann: Person) -> None:
    for kind, content in samples.foreign_without_high_bytes().items():
        answer = ann.send(content, "a.txt", "text/plain")
        assert answer.status_code == 415, f"{kind} as text -> {answer.status_code}: {answer.text[:300]}"


def test_judges_text_to_its_end(ann: Person, limit: int) -> None:
    for what, content in (
        ("bad bytes near the end", samples.text(limit - 1000) + b"\xff\xfe" + samples.text(100)),
        ("a character cut off at the end", samples.text(500) + "語".encode()[:2]),
        ("an encoded surrogate", samples.text(500) + b"\xed\xa0\x80" + samples.text(10)),
    ):
        answer = ann.send(content)
        assert answer.status_code == 415, f"{what} -> {answer.status_code}: {answer.text[:300]}"


def test_refuses_an_empty_file(ann: Person) -> None:
    for name, declared in (("a.txt", "text/plain"), ("a.png", "image/png")):
        expect(ann.send(b"", name, declared), 422)


def test_refuses_a_form_without_the_file(ann: Person) -> None:
    expect(ann.client.post("/files", files={"document": ("a.txt", samples.text(), "text/plain")}), 422)
    expect(ann.client.post("/files", files={"note": (None, samples.word())}), 422)


def test_accepts_exactly_the_limit(ann: Person, limit: int) -> None:
    content = samples.text(limit)
    made = ann.keep(content, f"{samples.word(40)}.txt")
    assert made["size"] == limit, made
    png = samples.png()
    assert ann.keep(png + bytes(limit - len(png)), "a.png", "image/png")["size"] == limit


def test_refuses_one_byte_more(ann: Person, limit: int) -> None:
    expect(ann.send(samples.text(limit + 1)), 413)
    png = samples.png()
    expect(ann.send(png + bytes(limit + 1 - len(png)), "a.png", "image/png"), 413)


@pytest.mark.parametrize("excess", [1, 400_000])
def test_refuses_too_much_without_a_length(ann: Person, limit: int, excess: int) -> None:
    body = form(part(samples.text(limit + excess)))

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    expect(ann.client.post("/files", content=pieces(), headers={"content-type": FORM_TYPE}), 413)


def test_counts_bytes_not_declarations(ann: Person, limit: int) -> None:
    body = form(part(samples.text(limit + 10), extra=b"Content-Length: 5\r\n"))
    expect(ann.client.post("/files", content=body, headers={"content-type": FORM_TYPE}), 413)


def test_accepts_a_file_without_a_length(ann: Person) -> None:
    content = samples.text(5000)
    body = form(part(content))
    answer = ann.client.post("/files", content=iter([body[:99], body[99:]]), headers={"content-type": FORM_TYPE})
    made = expect(answer, 201).json()
    assert (made["size"], media_type(made["content_type"])) == (len(content), samples.TEXT), made


@pytest.mark.parametrize("known", [True, False])
def test_stops_an_endless_upload(service: Any, ann: Person, known: bool) -> None:
    headers = {"Authorization": f"Bearer {ann.token}"} if known else {}
    most = 24_000_000
    status, sent = wire.endless_upload(service.url, headers, most=most)
    wanted = (413,) if known else (401, 413)
    assert status in wanted, f"after {sent} bytes of an upload that does not end, the answer is {status}, not {wanted}"


def test_survives_broken_forms(ann: Person) -> None:
    whole = form(part(samples.text()))
    for what, body, kind in (
        ("no boundary", whole, "multipart/form-data"),
        ("another boundary", whole, "multipart/form-data; boundary=other"),
        ("no disposition", whole.replace(b"Content-Disposition", b"X-Disposition"), FORM_TYPE),
        ("nothing", b"", FORM_TYPE),
        ("rubbish", b"\r\n\0\xff" * 50, FORM_TYPE),
        ("JSON", b'{"file": "text"}', "application/json"),
        ("a url-encoded form", b"file=text", "application/x-www-form-urlencoded"),
    ):
        answer = ann.client.post("/files", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, f"{what} -> {answer.status_code}: {answer.text[:300]}"
    survived(ann.client.post("/files", content=whole[: len(whole) // 2], headers={"content-type": FORM_TYPE}))


def test_survives_many_parts(ann: Person) -> None:
    fields = [field(f"a{number}", b"x") for number in range(1200)]
    survived(ann.client.post("/files", content=form(*fields, part(b"x")), headers={"content-type": FORM_TYPE}))
    files = [part(samples.text(9)) for _ in range(30)]
    survived(ann.client.post("/files", content=form(*files), headers={"content-type": FORM_TYPE}))


def test_survives_odd_json(ann: Person) -> None:
    file = ann.keep()
    headers = {"content-type": "application/json"}
    for body in (b"{", b"null", b"[1]", b"\xff\xfe\x00", b"[" * 20_000):
        refused(ann.client.patch(place(file), content=body, headers=headers))
        refused(ann.client.post(place(file, "/share"), content=body, headers=headers))
    for value in (b"NaN", b"7", b"null", b'"\\ud800"'):
        survived(ann.client.patch(place(file), content=b'{"filename": %s}' % value, headers=headers))
    for value in (b"NaN", b"1e400", b"null", b"[60]", b'"\\ud800"', b"1" + b"0" * 30):
        refused(ann.client.post(place(file, "/share"), content=b'{"expires_in": %s}' % value, headers=headers))


def test_survives_odd_ids(ann: Person) -> None:
    for odd in ("0", "-1", str(2**31), str(2**63), "9" * 40, "%00", "a%00b", "%ED%A0%80", "..%2f..%2fetc", "x" * 3000):
        refused(ann.client.get(f"/files/{odd}"))
    for odd in (str(2**63), "a%00b"):
        refused(ann.client.get(f"/files/{odd}/content"))
        refused(ann.client.delete(f"/files/{odd}"))
    refused(ann.client.patch("/files/a%00b", json={"filename": "a.txt"}))


def test_survives_odd_pages(ann: Person) -> None:
    for params in ({"offset": "-1"}, {"offset": str(2**31)}, {"offset": str(2**63)}):
        survived(ann.client.get("/files", params=params))
    for params in ({"offset": "x"}, {"limit": str(2**63)}, {"limit": "%00"}, {"limit": "1.5"}):
        refused(ann.client.get("/files", params=params))


def test_survives_odd_names_of_uploads(ann: Person) -> None:
    content = samples.text()
    for name in (
        b" ",
        b"..",
        b"/",
        b"a" * 300,
        b"b" * 5000 + b".txt",
        b"caf\xe9.txt",
        b"\xed\xa0\x80.txt",
        b"a\x00b.txt",
    ):
        answer = ann.client.post(
            "/files", content=form(part(content, filename=name)), headers={"content-type": FORM_TYPE}
        )
        assert answer.status_code < 500, f"a file called {name[:20]!r} -> {answer.status_code}: {answer.text[:300]}"
        if answer.status_code == 201:
            stored = expect(ann.content(answer.json()), 200)
            assert stored.content == content, f"a file called {name[:20]!r} came back otherwise"


def test_survives_odd_new_names(ann: Person) -> None:
    content = samples.text()
    file = ann.keep(content)
    for name in ("", " ", "..", "/", "a" * 300, "b" * 20_000, "a\0b.txt", "\n"):
        answer = ann.rename(file, name)
        assert answer.status_code < 500, f"the new name {name[:20]!r} -> {answer.status_code}: {answer.text[:300]}"
        if answer.status_code == 200:
            stored = expect(ann.content(file), 200)
            told = disposition(stored)[1]
            assert stored.content == content and told, f"named {name[:20]!r}, it is offered as {told!r}"
