"""Upload, list, download, rename and delete one's own files."""

import uuid
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, UploadFile
from fastapi.responses import FileResponse
from sqlalchemy import BigInteger, Index, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from .bearer import MAX_SUBJECT, UserId
from .database import DB, Base, utc_now
from .downloads import attachment
from .errors import NotFound, problems
from .fields import In, Out
from .filenames import MAX_LENGTH, Filename, cleaned
from .pagination import Page, Paging, fetch_page
from .storage import Storage

# The body around the file: boundaries, part headers, other fields.
FORM_OVERHEAD: Final = 64 * 1024
JSON_LIMIT: Final = 16 * 1024

router = APIRouter(prefix="/files", tags=["files"], responses=problems(401))


class StoredFile(Base):
    __tablename__ = "files"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner: Mapped[str] = mapped_column(String(MAX_SUBJECT))
    key: Mapped[str] = mapped_column(String(64), unique=True)
    filename: Mapped[str] = mapped_column(String(MAX_LENGTH))
    content_type: Mapped[str] = mapped_column(String(100))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)

    __table_args__ = (Index(None, "owner", "created_at", "id"),)


class FileOut(Out):
    """Neither the owner nor the place on disk."""

    id: uuid.UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    created_at: datetime


class Rename(In):
    filename: Filename


async def get_storage(request: Request) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


Files = Annotated[Storage, Depends(get_storage)]


async def own_file(file_id: uuid.UUID, user: UserId, db: DB) -> StoredFile:
    """Ownership is part of the query: what is somebody else's is not found."""
    query = select(StoredFile).where(StoredFile.id == file_id, StoredFile.owner == user)
    found = await db.scalar(query)
    if found is None:
        raise NotFound
    return found


OwnFile = Annotated[StoredFile, Depends(own_file)]


@router.post("", status_code=201, responses=problems(413, 415, 422))
async def upload(file: UploadFile, user: UserId, db: DB, storage: Files) -> FileOut:
    """Store the file that the form field `file` holds."""
    stored = await storage.save(file.file)
    try:
        row = StoredFile(
            owner=user,
            key=stored.key,
            filename=cleaned(file.filename),
            content_type=stored.content_type,
            size=stored.size,
            sha256=stored.sha256,
        )
        db.add(row)
        # Here, not when the session is closed: the bytes must go where the row is refused.
        await db.commit()
    except BaseException:
        storage.discard(stored.key)
        raise
    return FileOut.model_validate(row)


@router.get("")
async def list_files(user: UserId, db: DB, paging: Paging) -> Page[FileOut]:
    """One's own files, newest first."""
    query = select(StoredFile).where(StoredFile.owner == user)
    rows, total = await fetch_page(db, query.order_by(StoredFile.created_at.desc(), StoredFile.id.desc()), paging)
    return Page[FileOut](items=[FileOut.model_validate(row) for row in rows], total=total)


@router.get("/{file_id}", responses=problems(404))
async def read(file: OwnFile) -> FileOut:
    return FileOut.model_validate(file)


@router.get("/{file_id}/content", response_class=FileResponse, responses=problems(404, 416))
async def download(file: OwnFile, storage: Files) -> FileResponse:
    return await attachment(storage, file.key, filename=file.filename, content_type=file.content_type)


@router.patch("/{file_id}", responses=problems(404, 422), max_body_size=JSON_LIMIT)
async def rename(change: Rename, file: OwnFile) -> FileOut:
    file.filename = change.filename
    return FileOut.model_validate(file)


@router.delete("/{file_id}", status_code=204, responses=problems(404))
async def remove(file_id: uuid.UUID, user: UserId, db: DB, storage: Files) -> None:
    # One statement, so that of two deletions at once one wins and the other finds nothing.
    gone = delete(StoredFile).where(StoredFile.id == file_id, StoredFile.owner == user).returning(StoredFile.key)
    key = await db.scalar(gone)
    if key is None:
        raise NotFound
    # Bytes without a row are waste; a row without its bytes is a broken file.
    await db.commit()
    await storage.delete(key)
