"""A whole task that fits on a screen: an app with one table, three checks, and a mutant for each."""

from __future__ import annotations

from pathlib import Path

TASK = """\
title: Keep notes behind a key
difficulty: easy
exercises: [fastapi-database]
time_limit_s: 20
start_limit_s: 20
memory_limit_mb: 512
process_limit: 32
services: [postgres]
environment:
  SECRET_KEY: "{secret}"
  NOTES_FOLDER: "{data}"
checks:
  keeps_a_note:
    kind: functional
    proves: A note that was sent can be read again
  misses_an_unknown_note:
    kind: robustness
    proves: An unknown note is 404
  refuses_a_wrong_key:
    kind: security
    cwe: 306
    proves: Nobody reads or writes without the key
"""

MUTANTS = """\
- name: forgets-the-note
  file: app/main.py
  find: "async with engine.begin() as writing:"
  replace: "async with engine.connect() as writing:"
  caught_by: [keeps_a_note]
- name: finds-what-is-not-there
  file: app/main.py
  find: "if found is None:"
  replace: "if found == 0:"
  caught_by: [misses_an_unknown_note]
- name: ignores-the-key
  file: app/main.py
  find: "if not compare_digest(key.encode(), KEY.encode()):"
  replace: "if not key:"
  caught_by: [refuses_a_wrong_key]
"""

APP = """\
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import Annotated

from fastapi import Body, Depends, FastAPI, Header, HTTPException
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

KEY = os.environ["SECRET_KEY"]
engine = create_async_engine(os.environ["DATABASE_URL"])
metadata = MetaData()
notes = Table("notes", metadata, Column("id", Integer, primary_key=True), Column("text", String(200)))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    yield
    await engine.dispose()


def keyed(key: Annotated[str, Header(alias="X-Key")] = "") -> None:
    if not compare_digest(key.encode(), KEY.encode()):
        raise HTTPException(401)


app = FastAPI(lifespan=lifespan, dependencies=[Depends(keyed)])


@app.post("/notes", status_code=201)
async def keep(text: Annotated[str, Body(embed=True, max_length=200)]) -> dict[str, int]:
    async with engine.begin() as writing:
        made = await writing.execute(insert(notes).values(text=text))
        return {"id": made.inserted_primary_key[0]}


@app.get("/notes/{note}")
async def read(note: Annotated[int, "id"]) -> dict[str, str | None]:
    async with engine.connect() as reading:
        found = await reading.scalar(select(notes.c.text).where(notes.c.id == note))
    if found is None:
        raise HTTPException(404)
    return {"text": found}
"""

CHECKS = """\
from secrets import token_hex

import pytest


@pytest.fixture
def keyed(connect, service):
    return connect(headers={"X-Key": service.env["SECRET_KEY"]})


def test_keeps_a_note(keyed):
    text = token_hex(8)
    made = keyed.post("/notes", json={"text": text})
    assert made.status_code == 201, made.text
    read = keyed.get(f"/notes/{made.json()['id']}")
    assert (read.status_code, read.json()) == (200, {"text": text}), read.text


def test_misses_an_unknown_note(keyed):
    read = keyed.get("/notes/987654321")
    assert read.status_code == 404, read.text


def test_refuses_a_wrong_key(client):
    for key in (token_hex(32), token_hex(4)):
        answer = client.get("/notes/1", headers={"X-Key": key})
        assert answer.status_code == 401, answer.text
"""

TEST = """\
from pathlib import Path


def test_the_app_is_there():
    assert Path("app/main.py").is_file()
"""

FILES = {
    "task.yaml": TASK,
    "instruction.md": "Build a service that keeps notes for whoever has the key.\n",
    "mutants.yaml": MUTANTS,
    "starter/README.md": "Notes\n",
    "checks/test_notes.py": CHECKS,
    "solution/app/__init__.py": "",
    "solution/app/main.py": APP,
    "solution/tests/test_app.py": TEST,
}


def write_tiny_task(root: Path, name: str = "tiny", **changes: str | None) -> Path:
    """Write the task as `root / name`. A change is a file's new text, or None to leave the file out:
    `write_tiny_task(tmp_path, **{"mutants.yaml": None})`."""
    folder = root / name
    for path, text in {**FILES, **changes}.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    return folder
