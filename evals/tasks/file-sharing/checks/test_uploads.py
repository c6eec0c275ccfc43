"""What is refused, and at which size."""

from __future__ import annotations

import itertools
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


def test_accepts_exactly_the_limit(ann: Person, limit: int) -> None:
    made = ann.keep(samples.text(limit), f"{samples.word(40)}.txt")
    assert made["size"] == limit, made


def test_refuses_one_byte_more(ann: Person, limit: int) -> None:
    expect(ann.send(samples.text(limit + 1)), 413)
    # Nor does a length that the part declares hide its size.
    body = form(part(samples.text(limit + 10), extra=b"Content-Length: 5\r\n"))
    expect(ann.client.post("/files", content=body, headers={"content-type": FORM_TYPE}), 413)


def test_needs_no_declared_length(ann: Person, limit: int) -> None:
    content = samples.text(5000)
    made = expect(chunked(ann, form(part(content))), 201).json()
    assert (made["size"], media_type(made["content_type"])) == (len(content), samples.TEXT), made
    for excess in (1, 400_000):
        expect(chunked(ann, form(part(samples.text(limit + excess)))), 413)


def chunked(person: Person, body: bytes) -> Any:
    pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    return person.client.post("/files", content=pieces, headers={"content-type": FORM_TYPE})


@pytest.mark.parametrize("known", [True, False])
def test_stops_an_endless_upload(service: Any, ann: Person, known: bool) -> None:
    headers = {"Authorization": f"Bearer {ann.token}"} if known else {}
    wanted = (413,) if known else (401, 413)
    status, sent = wire.endless_upload(service.url, headers, most=24_000_000)
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
        ("no field of the name", form(field("note", b"x")), FORM_TYPE),
        ("text in place of the file", form(field("file", b"x")), FORM_TYPE),
    ):
        answer = ann.client.post("/files", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, f"{what} -> {answer.status_code}: {answer.text[:300]}"
    many = form(*(field(f"a{number}", b"x") for number in range(1200)), part(b"x"))
    for body in (whole[: len(whole) // 2], many, form(*(part(samples.text(9)) for _ in range(30)))):
        survived(ann.client.post("/files", content=body, headers={"content-type": FORM_TYPE}))


def test_survives_odd_json(ann: Person) -> None:
    file = ann.keep()
    headers = {"content-type": "application/json"}
    for body in (b"{", b"null", b"\xff\xfe\x00", b"[" * 20_000):
        refused(ann.client.patch(place(file), content=body, headers=headers))
        refused(ann.client.post(place(file, "/share"), content=body, headers=headers))
    for value in (b"NaN", b"null", b"[60]"):
        refused(ann.client.patch(place(file), content=b'{"filename": %s}' % value, headers=headers))
    for value in (b"NaN", b"1e400", b"null", b'"\\ud800"', b"1" + b"0" * 30):
        refused(ann.client.post(place(file, "/share"), content=b'{"expires_in": %s}' % value, headers=headers))


def test_survives_odd_addresses(ann: Person) -> None:
    for odd in ("0", "-1", str(2**63), "9" * 40, "%00", "a%00b", "%ED%A0%80", "..%2f..%2fetc", "x" * 3000):
        refused(ann.client.get(f"/files/{odd}"))
    refused(ann.client.get(f"/files/{2**63}/content"))
    refused(ann.client.delete("/files/a%00b"))
    refused(ann.client.patch("/files/a%00b", json={"filename": "a.txt"}))
    for params in ({"offset": "-1"}, {"offset": str(2**31)}, {"offset": str(2**63)}):
        survived(ann.client.get("/files", params=params))
    for params in ({"offset": "x"}, {"limit": str(2**63)}, {"limit": "1.5"}):
        refused(ann.client.get("/files", params=params))


def test_survives_odd_names(ann: Person) -> None:
    """Whether they are taken or refused: the file can be downloaded."""
    content = samples.text()
    for name in (b" ", b"..", b"/", b"a" * 300, b"b" * 5000 + b".txt", b"caf\xe9.txt", b"\xed\xa0\x80.txt", b"a\0b"):
        body = form(part(content, filename=name))
        answer = ann.client.post("/files", content=body, headers={"content-type": FORM_TYPE})
        assert answer.status_code < 500, f"a file called {name[:20]!r} -> {answer.status_code}: {answer.text[:300]}"
        if answer.status_code == 201:
            stored = expect(ann.content(answer.json()), 200)
            assert stored.content == content, f"a file called {name[:20]!r} came back otherwise"
    file = ann.keep(content)
    for value in (
        b'""',
        b'" "',
        b'".."',
        b'"%s"' % (b"a" * 300),
        b'"%s"' % (b"b" * 20_000),
        b'"a\\u0000b"',
        b'"\\ud800"',
    ):
        body, headers = b'{"filename": %s}' % value, {"content-type": "application/json"}
        answer = ann.client.patch(place(file), content=body, headers=headers)
        assert answer.status_code < 500, f"the new name {value[:20]!r} -> {answer.status_code}: {answer.text[:300]}"
        if answer.status_code == 200:
            stored = expect(ann.content(file), 200)
            told = disposition(stored)[1]
            assert stored.content == content and told, f"named {value[:20]!r}, it is offered as {told!r}"
