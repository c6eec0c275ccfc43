"""The first registered account becomes the administrator: exactly one, however many register at the same moment."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base
from .users import Role


class FirstAccount(Base):
    """At most one row, made together with the first account. Counting the users instead would be a race."""

    __tablename__ = "first_account"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


async def role_of_new_account(db: AsyncSession) -> Role:
    """Call it in the transaction that adds the account: others wait for its end, and a rollback gives the role back."""
    claim = text("INSERT INTO first_account (id) VALUES (1) ON CONFLICT DO NOTHING RETURNING id")
    return Role.ADMIN if await db.scalar(claim) is not None else Role.USER
