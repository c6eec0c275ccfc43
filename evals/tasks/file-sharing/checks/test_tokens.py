"""Who gets in: tokens that the other service issued, and no others."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import samples
from answers import expect, survived
from people import Person, place
from tokens import claims, issued, joined


def sent(client: httpx.Client, token: str | bytes, scheme: str = "Bearer") -> httpx.Response:
    value = token if isinstance(token, bytes) else token.encode()
    return client.get("/files", headers={b"authorization": scheme.encode() + b" " + value})


def denied(client: httpx.Client, token: str | bytes, what: str) -> None:
    answer = sent(client, token)
    assert answer.status_code == 401, f"{what} -> {answer.status_code} instead of 401: {answer.text[:300]}"


def test_asks_everybody_for_a_token(ann: Person, stranger: httpx.Client) -> None:
    file = ann.keep()
    expect(stranger.get("/files"), 401)
    expect(stranger.post("/files", files={"file": ("a.txt", samples.text(), "text/plain")}), 401)
    expect(stranger.get(place(file)), 401)
    expect(stranger.get(place(file, "/content")), 401)
    expect(stranger.patch(place(file), json={"filename": "yours.txt"}), 401)
    expect(stranger.post(place(file, "/share"), json={"expires_in": 60}), 401)
    expect(stranger.delete(place(file)), 401)
    assert ann.read(file)["filename"] == file["filename"], "a request without a token changed the file"


def test_reads_the_token_from_the_header_only(ann: Person, stranger: httpx.Client) -> None:
    for name in ("token", "access_token"):
        expect(stranger.get("/files", params={name: ann.token}), 401)
        expect(stranger.get("/files", headers={"cookie": f"{name}={ann.token}"}), 401)
    for scheme in ("Basic", "Token"):
        expect(sent(stranger, ann.token, scheme), 401)


def test_rejects_unsigned_tokens(stranger: httpx.Client, ann: Person) -> None:
    for algorithm in ("none", "None", "NONE"):
        denied(stranger, joined({"alg": algorithm, "typ": "JWT"}, claims(ann.id), None), f"alg {algorithm}, unsigned")
    denied(stranger, ann.token.rpartition(".")[0] + ".", "a token without its signature")


def test_rejects_tokens_of_other_keys(stranger: httpx.Client, ann: Person) -> None:
    for key in (secrets.token_hex(32), "secret", "your-secret-key", "changeme", "SECRET_KEY", "x" * 32):
        denied(stranger, issued(claims(ann.id), key), f"signed with {key[:16]!r}")
    head, _, signature = ann.token.split(".")
    body = issued(claims("somebody-else"), "x").split(".")[1]
    denied(stranger, f"{head}.{body}.{signature}", "another body under the same signature")


def test_rejects_tokens_outside_their_time(stranger: httpx.Client, ann: Person, key: str) -> None:
    for age in (600, 86_400):
        denied(stranger, issued(claims(ann.id, -age), key), f"expired {age} s ago")
    later = {**claims(ann.id), "nbf": int(time.time()) + 3000}
    denied(stranger, issued(later, key), "not valid before in 50 minutes")


def test_requires_an_expiry(stranger: httpx.Client, ann: Person, key: str) -> None:
    denied(stranger, issued({"sub": ann.id}, key), "no exp")
    for expiry in ("soon", [], None, -1):
        denied(stranger, issued({**claims(ann.id), "exp": expiry}, key), f"exp {expiry!r}")


def test_requires_a_subject(stranger: httpx.Client, key: str) -> None:
    whole = claims("x")
    denied(stranger, issued({"exp": whole["exp"]}, key), "no sub")
    for subject in (None, [], {"id": 1}):
        denied(stranger, issued({**whole, "sub": subject}, key), f"sub {subject!r}")


def test_rejects_rubbish_tokens(stranger: httpx.Client, ann: Person, key: str) -> None:
    for rubbish in ("x", "a.b.c", "....", ann.token + "x", ann.token[1:], "e" * 5000, b"\xff\xfe.a.b"):
        denied(stranger, rubbish, f"{rubbish[:30]!r}")
    denied(stranger, issued([1], key), "a list for claims")
    denied(stranger, issued("text", key), "a string for claims")
    denied(stranger, joined({"alg": ["HS256"]}, claims(ann.id), key), "a list for alg")


def test_survives_odd_subjects(stranger: httpx.Client, key: str) -> None:
    """Refused or taken for a user; the database must not be what refuses them."""
    whole = claims("x")
    for subject in (7, True, "", "..", "a\0b", "\ud800", "x" * 300, "y" * 5000, 10**30):
        headers = {"authorization": f"Bearer {issued({**whole, 'sub': subject}, key)}"}
        answer = stranger.post("/files", files={"file": ("a.txt", samples.text(), "text/plain")}, headers=headers)
        assert answer.status_code < 500, f"sub {str(subject)[:20]!r} -> {answer.status_code}: {answer.text[:300]}"


def test_accepts_ids_of_every_issuer(newcomer: Callable[..., Person]) -> None:
    for subject in (
        f"auth0|{secrets.token_hex(12)}",
        str(secrets.randbelow(10**21)),
        f"{samples.word()}.{samples.word()}@example.com",
        f"Zo\u00eb {samples.word()}",
        samples.word(200),
    ):
        person = newcomer(subject)
        made = person.keep()
        listed = [file["id"] for file in person.listed()["items"]]
        assert listed == [made["id"]], f"{subject!r} uploaded one file and finds {listed}"


def test_tells_similar_ids_apart(newcomer: Callable[..., Person]) -> None:
    name = samples.word()
    owner = newcomer(f"{name}.Smith")
    made = owner.keep()
    for subject in (f"{name}.smith", f"{name}.Smith ", f"{name}_Smith", f"{name}/Smith"):
        other = newcomer(subject)
        answer = other.client.get(place(made))
        if answer.status_code == 401:
            continue
        expect(answer, 404)
        assert other.listed()["total"] == 0, f"{subject!r} sees the files of {owner.id!r}"


def test_hides_the_files_of_others(ann: Person, bob: Person) -> None:
    content = samples.text()
    made = ann.keep(content)
    expect(bob.client.get(place(made)), 404)
    expect(bob.content(made), 404)
    expect(bob.content(made, range="bytes=0-1"), 404)
    expect(bob.rename(made, "yours.txt"), 404)
    expect(bob.share(made), 404)
    expect(bob.remove(made), 404)
    assert ann.read(made)["filename"] == made["filename"], "somebody else renamed the file"
    assert expect(ann.content(made), 200).content == content, "somebody else changed the file"


def test_lists_only_own_files(ann: Person, newcomer: Callable[..., Person]) -> None:
    ann.keep()
    eve = newcomer()
    own = eve.keep()
    for params in ({}, {"owner": ann.id}, {"owner_id": ann.id}, {"user_id": ann.id}, {"sub": ann.id}):
        answer = eve.client.get("/files", params=params)
        if params and answer.status_code == 422:
            continue
        page = expect(answer, 200).json()
        found = (page["total"], [file["id"] for file in page["items"]])
        assert found == (1, [own["id"]]), f"the list with {params} holds {found}, own is {own['id']}"


def test_sets_no_fields_by_guess(ann: Person, bob: Person) -> None:
    content = samples.text()
    form: dict[str, Any] = {"owner": bob.id, "owner_id": bob.id, "user_id": bob.id, "sha256": "0" * 64, "size": "1"}
    answer = ann.client.post("/files", files={"file": ("a.txt", content, "text/plain")}, data=form)
    made = survived(answer).json() if answer.status_code == 201 else ann.keep(content)
    before = ann.read(made)
    assert before["size"] == len(content) and before["sha256"] != "0" * 64, before
    wish = {**form, "filename": "b.txt", "size": 1, "content_type": "text/html", "id": 1, "created_at": "2020-01-01"}
    survived(ann.client.patch(place(made), json=wish))
    after = ann.read(made)
    kept = ("id", "size", "sha256", "content_type", "created_at")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}, (
        "a PATCH changed more than the name"
    )
    expect(bob.client.get(place(made)), 404)
