"""Links that open one file without an account until they expire."""

import hashlib
import secrets
import uuid
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field
from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .database import DB, Base, utc_now
from .downloads import attachment
from .errors import NotFound, problems
from .fields import In, Out
from .files import JSON_LIMIT, Files, OwnFile, StoredFile

MAX_LIFE_S: Final = 604_800
# 256 bits: nobody guesses one, so no limit on tries is needed.
TOKEN_BYTES: Final = 32

router = APIRouter(tags=["share links"])


class ShareLink(Base):
    """The token itself is not stored: who reads the database can't open the links."""

    __tablename__ = "share_links"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    file_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime]


class ShareIn(In):
    expires_in: int = Field(ge=1, le=MAX_LIFE_S, description="Seconds")


class ShareOut(Out):
    url: str
    expires_at: datetime


def hashed(token: str) -> str:
    """No salt and no slow hash: the token is random, not somebody's password."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@router.post("/files/{file_id}/share", status_code=201, responses=problems(401, 404, 422), max_body_size=JSON_LIMIT)
async def share(wish: ShareIn, file: OwnFile, request: Request, db: DB) -> ShareOut:
    """Make a link. Each has a token of its own, so that none can be told from another."""
    now = utc_now()
    await db.execute(delete(ShareLink).where(ShareLink.file_id == file.id, ShareLink.expires_at <= now))
    token = secrets.token_urlsafe(TOKEN_BYTES)
    link = ShareLink(file_id=file.id, token_hash=hashed(token), expires_at=now + timedelta(seconds=wish.expires_in))
    db.add(link)
    # A path: an absolute URL would be made of the Host header, which the client writes. The token is in the query,
    # because RequestLogMiddleware writes paths to the log.
    path = request.scope.get("root_path", "") + request.app.url_path_for("open_link")
    url = f"{path}?{urlencode({'token': token})}"
    return ShareOut(url=url, expires_at=link.expires_at)


@router.get("/shared", response_class=FileResponse, responses=problems(404, 416))
async def open_link(token: Annotated[str, Query(max_length=200)], db: DB, storage: Files) -> FileResponse:
    """The file. Unknown, expired and deleted look the same."""
    query = select(StoredFile).join(ShareLink, ShareLink.file_id == StoredFile.id)
    file = await db.scalar(query.where(ShareLink.token_hash == hashed(token), ShareLink.expires_at > utc_now()))
    if file is None:
        raise NotFound
    return await attachment(storage, file.key, filename=file.filename, content_type=file.content_type)
