"""A user with a token and a connection, and the sentences in which checks speak for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx
import samples
from answers import expect, target
from tokens import claims, issued

Json = dict[str, Any]
Connect = Callable[..., httpx.Client]
Together = Callable[[Sequence[Callable[[], Any]]], list[Any]]
Commits = Callable[..., AbstractContextManager[Any]]

FIELDS = ("id", "filename", "content_type", "size", "sha256", "created_at")
GONE = (404, 410)


@dataclass(frozen=True)
class Person:
    """Somebody whom the other service knows as `id`."""

    id: str
    token: str
    client: httpx.Client

    def send(self, content: bytes, name: str | None = None, declared: str | None = "text/plain") -> httpx.Response:
        """Upload under `name`, or one that no other file has."""
        name = name or f"{samples.word()}.txt"
        part = (name, content, declared) if declared else (name, content)
        return self.client.post("/files", files={"file": part})

    def keep(self, content: bytes | None = None, name: str | None = None, declared: str | None = "text/plain") -> Json:
        """Upload; what the service says of the file."""
        answer = self.send(samples.text() if content is None else content, name, declared)
        made: Json = expect(answer, 201).json()
        missing = [field for field in FIELDS if field not in made]
        assert not missing, f"the answer to an upload has no {missing}: {made}"
        return made

    def read(self, file: Json) -> Json:
        found: Json = expect(self.client.get(place(file)), 200).json()
        return found

    def content(self, file: Json, **headers: str) -> httpx.Response:
        return self.client.get(place(file, "/content"), headers=headers)

    def rename(self, file: Json, name: Any) -> httpx.Response:
        return self.client.patch(place(file), json={"filename": name})

    def remove(self, file: Json) -> httpx.Response:
        return self.client.delete(place(file))

    def share(self, file: Json, expires_in: Any = 600) -> httpx.Response:
        return self.client.post(place(file, "/share"), json={"expires_in": expires_in})

    def link(self, file: Json, expires_in: int = 600) -> str:
        """Path and query of a new link."""
        return link_in(expect(self.share(file, expires_in), 201))

    def listed(self, **params: Any) -> Json:
        page: Json = expect(self.client.get("/files", params=params), 200).json()
        assert {"items", "total"} <= page.keys(), f"a list without items and total: {page}"
        return page


def link_in(answer: httpx.Response) -> str:
    """Path and query of the link that was made."""
    return target(answer.json().get("url"))


def place(file: Json, below: str = "") -> str:
    return f"/files/{file['id']}{below}"


def person(connect: Connect, key: str, subject: str | None = None) -> Person:
    subject = subject or f"user-{samples.word(16)}"
    token = issued(claims(subject), key)
    return Person(subject, token, connect(headers={"authorization": f"Bearer {token}"}))
