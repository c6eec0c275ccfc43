"""Keys for programs. A key is shown once; the table holds its digest, so a copy of the table opens nothing."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyHeader
from sqlalchemy import ForeignKey, String, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from .database import DB, Base, utc_now
from .errors import Unauthorized
from .users import User

# Found by secret scanners, and by people who wonder what it opens.
PREFIX = "svc_"


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]


def make_key(user_id: uuid.UUID, name: str, expires_at: datetime | None = None) -> tuple[str, ApiKey]:
    """The key to show once, and the row to add."""
    key = PREFIX + secrets.token_urlsafe(32)
    return key, ApiKey(user_id=user_id, name=name, digest=digest_of(key), expires_at=expires_at)


def digest_of(key: str) -> str:
    # 256 random bits need no slow hash, and equality of digests tells nothing by its time.
    return hashlib.sha256(key.encode()).hexdigest()


async def get_key_user(db: DB, key: Annotated[str, Depends(APIKeyHeader(name="X-API-Key"))]) -> User:
    valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > utc_now())
    query = select(User).join(ApiKey, ApiKey.user_id == User.id).where(ApiKey.digest == digest_of(key), valid)
    user = await db.scalar(query)
    if user is None:
        raise Unauthorized("Invalid key")
    return user


KeyUser = Annotated[User, Depends(get_key_user)]
