"""How files are handed out: ranges, and nothing that a browser would run."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
import pytest
import samples
from answers import disposition, expect, media_type, survived
from people import Person

ACTIVE = ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript",
          "application/javascript")  # fmt: skip


def test_answers_ranges(ann: Person) -> None:
    content = samples.text(1000 + len(samples.word()))
    size = len(content)
    file = ann.keep(content)
    for asked, first, last in (
        ("0-0", 0, 0),
        ("500-", 500, size - 1),
        ("-7", size - 7, size - 1),
        ("900-99999999", 900, size - 1),
    ):
        answer = expect(ann.content(file, range=f"bytes={asked}"), 206)
        wanted = f"bytes {first}-{last}/{size}"
        told = answer.headers.get("content-range", "")
        assert re.sub(r"\s+", " ", told.strip()) == wanted, (
            f"bytes={asked}: Content-Range {told!r} instead of {wanted!r}"
        )
        assert answer.content == content[first : last + 1], (
            f"bytes={asked}: {len(answer.content)} bytes, not the ones asked for"
        )
    for asked in (f"{size}-", "99999-"):
        answer = expect(ann.content(file, range=f"bytes={asked}"), 416)
        assert content[:50] not in answer.content, "416 with the file in its body"


def test_survives_odd_ranges(ann: Person) -> None:
    content = samples.text(50_000)
    file = ann.keep(content)
    many = ",".join(["0-"] * 60)
    for asked in ("bytes=", "bytes=x-y", "bytes=9-2", "bytes=--5", "bytes=1-2-3", "lines=0-1", "0-1", "bytes=0-1,5-6",
                  f"bytes={many}", "bytes=" + "9" * 5000 + "-"):  # fmt: skip
        answer = survived(ann.content(file, range=asked))
        size = len(answer.content)
        assert size <= 3 * len(content), f"a file of {len(content)} bytes became {size} for {asked[:40]!r}"
        if answer.status_code == 200:
            assert answer.content == content, f"{asked[:40]!r}: 200 with {size} bytes of {len(content)}"


@dataclass(frozen=True)
class HandedOut:
    """One file, downloaded in every way."""

    name: str
    ways: dict[str, httpx.Response]


@pytest.fixture(scope="module")
def handed_out(ann: Person, stranger: httpx.Client) -> HandedOut:
    name = f"{samples.word()} ü.png"
    file = ann.keep(samples.png(), name, "image/png")
    ways = {"download": ann.content(file), "part": ann.content(file, range="bytes=0-3")}
    return HandedOut(name, ways | {"shared download": stranger.get(ann.link(file))})


def test_every_download_is_an_attachment(handed_out: HandedOut) -> None:
    for what, answer in handed_out.ways.items():
        told = expect(answer, 200, 206).headers.get("content-disposition")
        wanted = ("attachment", handed_out.name)
        assert disposition(answer) == wanted, f"{what} of {handed_out.name!r}: Content-Disposition is {told!r}"


def test_downloads_are_not_sniffed(handed_out: HandedOut) -> None:
    for what, answer in handed_out.ways.items():
        told = expect(answer, 200, 206).headers.get("x-content-type-options", "")
        assert told.strip().lower() == "nosniff", f"{what}: X-Content-Type-Options is {told!r}"


def test_downloads_are_not_public_to_caches(handed_out: HandedOut) -> None:
    for what, answer in handed_out.ways.items():
        told = expect(answer, 200, 206).headers.get("cache-control", "").lower()
        assert not re.search(r"\b(public|immutable|s-maxage)\b", told), f"{what}: Cache-Control is {told!r}"
    ages = [int(age) for age in re.findall(r"max-age\s*=\s*(\d+)", told)]
    assert not ages or max(ages) <= 600, f"shared download: Cache-Control is {told!r}, the link lives 600 s"


def test_never_serves_pages(ann: Person, stranger: httpx.Client) -> None:
    """HTML and SVG are plain text by their content: refused or handed out as text, never as something that runs.
    Nor does a name that promises a page make one.
    """
    uploads = [(samples.html(), "a.html", "text/html"), (samples.svg(), "a.svg", "image/svg+xml")]
    files = [answer.json() for answer in (ann.send(*upload) for upload in uploads) if answer.status_code == 201]
    renamed = ann.keep()
    if survived(ann.rename(renamed, "page.html")).status_code == 200:
        files.append(ann.read(renamed))
    served = [(file, file["content_type"]) for file in files]
    served += [(file, expect(ann.content(file), 200).headers.get("content-type", "")) for file in files]
    served += [(file, expect(stranger.get(ann.link(file)), 200).headers.get("content-type", "")) for file in files[-1:]]
    for file, told in served:
        assert media_type(told) not in ACTIVE, f"{file['filename']} is handed out as {told}"


def test_names_add_no_headers(ann: Person) -> None:
    mark = samples.word()
    file = ann.keep()
    for name in (
        f"a.txt\r\nX-{mark}: 1\r\nSet-Cookie: {mark}=1",
        f"a.txt\"; filename*=UTF-8''{mark}.exe; x=\"",
        f"a.txt\\\"; filename*=UTF-8''{mark}.exe; x=\"",
    ):
        if survived(ann.rename(file, name)).status_code != 200:
            continue
        answer = survived(ann.content(file))
        assert f"x-{mark}" not in answer.headers, f"the name {name!r} became a header"
        assert mark not in answer.headers.get("set-cookie", ""), f"the name {name!r} became a cookie"
        assert disposition(answer)[1] != f"{mark}.exe", f"the name {name!r} became another: {answer.headers}"


def test_names_hold_no_path(ann: Person) -> None:
    mark = samples.word()
    uploaded = [survived(ann.send(samples.text(), name)) for name in (f"../../{mark}.txt", f"..\\{mark}.txt")]
    files = [answer.json() for answer in uploaded if answer.status_code == 201]
    for name in (f"/root/{mark}.sh", f"C:\\{mark}.bat"):
        file = ann.keep()
        if survived(ann.rename(file, name)).status_code == 200:
            files.append(file)
    for file in files:
        told = disposition(expect(ann.content(file), 200))[1]
        assert told and not re.search(r"[/\\]", told), f"a download is offered as {told!r}"
