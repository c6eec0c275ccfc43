"""The account: its table, and what goes in and out of the service."""

import unicodedata
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import MISSING
from sqlalchemy import Enum, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, Timestamps
from .fields import Email, In, Out, text
from .passwords import Password


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


class User(Timestamps, Base):
    __tablename__ = "users"
    __table_args__ = (Index("ix_users_created_at_id", "created_at", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    full_name: Mapped[str | None] = mapped_column(String(200))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[Role] = mapped_column(
        Enum(Role, native_enum=False, length=20, values_callable=lambda roles: [role.value for role in roles])
    )


FullName = Annotated[str, text(1, 200)]


class RegisterIn(In):
    """No role here: what a client may not choose is not in the model."""

    email: Email
    password: Password
    full_name: FullName | None = None


class ProfileIn(In):
    """An absent field stays as it is. Null clears the name; it is refused for the password."""

    full_name: FullName | MISSING | None = MISSING
    password: Password | MISSING = MISSING


class UserOut(Out):
    """No password hash here."""

    id: uuid.UUID
    email: str
    full_name: str | None
    role: Role
    created_at: datetime


def account_name(given: str) -> str:
    """The stored form of an address that was typed into a login form, which nothing has validated."""
    return unicodedata.normalize("NFC", given.strip()).lower()
