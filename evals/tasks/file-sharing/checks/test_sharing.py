"""Links that open one file until they expire."""

from __future__ import annotations

import math
import re
import secrets
import string
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import samples
from answers import expect, moment, secret_of, survived
from people import GONE, Connect, Json, Person


def test_shares_a_file(ann: Person, stranger: httpx.Client) -> None:
    """Each link as often as one likes, whether or not another one is made."""
    content = samples.png()
    file = ann.keep(content)
    links = [ann.link(file, 600), ann.link(file, 60)]
    for link in (*links, links[0]):
        assert expect(stranger.get(link), 200).content == content, "the link gives other bytes"


def test_says_when_a_link_expires(ann: Person, file: Json) -> None:
    for life in (1, 604_800):
        before = datetime.now(UTC)
        made = expect(ann.share(file, life), 201).json()
        after = datetime.now(UTC)
        told = moment(made.get("expires_at"))
        grace, wanted = timedelta(seconds=2), timedelta(seconds=life)
        assert before + wanted - grace <= told <= after + wanted + grace, (
            f"expires_in {life}: expires_at is {told}, now {after}"
        )


def test_bounds_the_life_of_a_link(ann: Person, file: Json) -> None:
    for bad in (0, -1, 604_801):
        expect(ann.share(file, bad), 400, 422)


def test_ends_an_expired_link(brief: Any, stranger: httpx.Client) -> None:
    assert not isinstance(brief, str), brief
    # One second of grace: a token may count in whole seconds.
    deadline = brief.made + 2.5
    answer = stranger.get(brief.link)
    while answer.status_code not in GONE and time.monotonic() < deadline:
        time.sleep(max(0.1, min(1.02, brief.made + 1.02 - time.monotonic())))
        answer = stranger.get(brief.link)
    since = time.monotonic() - brief.made
    assert answer.status_code in GONE, f"a link for 1 s answers {answer.status_code} after {since:.1f} s"


def test_deletion_ends_links(ann: Person, stranger: httpx.Client) -> None:
    file = ann.keep()
    links = [ann.link(file), ann.link(file, 604_800)]
    expect(stranger.get(links[0]), 200)
    expect(ann.remove(file), 204)
    for link in links:
        expect(stranger.get(link), *GONE)


def test_altered_links_open_nothing(ann: Person, file: Json, stranger: httpx.Client) -> None:
    link = ann.link(file)
    secret = secret_of(link, file)
    middle = len(secret) // 2
    other = "b" if secret[middle] != "b" else "c"
    letters = "0123456789abcdef" if re.fullmatch(r"[0-9a-f-]+", secret) else string.ascii_letters
    guess = "".join(secrets.choice(letters) if c.isalnum() else c for c in secret)
    altered = [
        link.replace(secret, text) for text in (secret[:middle] + other + secret[middle + 1 :], secret[:middle], guess)
    ]
    # A moment of expiry in the link must be covered by its signature.
    altered += [
        link.replace(number, str(int(number) + 1000)) for number in re.findall(r"(?<=[=/.])\d{9,}(?=[&/.]|$)", link)
    ]
    odd = ("", "%00", "%ED%A0%80", "%FF", "..%2f..%2fetc%2fpasswd", "x" * 4000, "-1", "a.b.c")
    for forged in (*altered, *(link.replace(secret, text) for text in odd)):
        answer = stranger.get(forged)
        assert 300 <= answer.status_code < 500, f"{link} altered to {forged[:200]} -> {answer.status_code}"


def test_a_link_opens_one_file(ann: Person, file: Json, bob: Person, stranger: httpx.Client) -> None:
    content = samples.text()
    private, others = ann.keep(content), bob.keep(content)
    link = ann.link(file)
    secret = secret_of(link, file)
    for path in (
        link.replace(str(file["id"]), str(private["id"])),
        f"/files/{private['id']}/content?token={secret}",
        f"/files/{others['id']}/content?token={secret}",
        link + ("&" if "?" in link else "?") + f"id={others['id']}&file_id={others['id']}",
    ):
        answer = survived(stranger.get(path))
        assert content not in answer.content, f"GET {path} gives a file that was not shared"


def test_links_can_t_be_guessed(ann: Person, file: Json) -> None:
    """What differs between links is counted: below 128 bits it is a number, a clock or an id, not a secret."""
    links = [ann.link(file, 1000 + number) for number in range(8)]
    if len(set(links)) == 1:  # one link a file
        files = [ann.keep() for _ in range(8)]
        links = [ann.link(file).replace(str(file["id"]), "") for file in files]
    bits = max(variety([link[::step] for link in links]) for step in (1, -1))
    assert bits >= 54, f"links differ too little to be unguessable ({bits:.0f} of 54): {links[:3]}"


def variety(words: list[str]) -> float:
    """Bits that a sample of words shows, column by column. Eight words of 128 random bits show 64 to 98."""
    return sum(math.log2(len({word[place : place + 1] for word in words})) for place in range(max(map(len, words))))


def test_links_are_no_tokens(ann: Person, file: Json, stranger: httpx.Client, connect: Connect) -> None:
    """Nor are tokens links."""
    link = ann.link(file)
    secret = secret_of(link, file)
    expect(connect(headers={"authorization": f"Bearer {secret}"}).get("/files"), 401)
    answer = survived(stranger.get(link.replace(secret, ann.token)))
    assert answer.status_code >= 400, f"the owner's token opens the link: {answer.status_code}"


def test_a_link_only_reads(ann: Person, stranger: httpx.Client) -> None:
    content = samples.text()
    file = ann.keep(content)
    link = ann.link(file)
    for method in ("DELETE", "PATCH", "PUT", "POST"):
        answer = survived(stranger.request(method, link, json={"filename": "other.txt"}))
        assert answer.status_code >= 400, f"{method} {link} -> {answer.status_code}"
    assert expect(stranger.get(link), 200).content == content
    assert ann.read(file)["filename"] == file["filename"], "a link changed the name"
