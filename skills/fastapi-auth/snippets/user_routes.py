"""The caller's own profile, and the administration of accounts."""

import uuid

from fastapi import APIRouter
from pydantic import SecretStr
from sqlalchemy import delete, select

from .current_user import AdminUser, CurrentCaller, CurrentUser
from .database import DB
from .errors import NotFound, problems
from .pagination import Page, Paging, fetch_page
from .passwords import Hashing
from .sessions import end_other_sessions
from .users import ProfileIn, User, UserOut

router = APIRouter(prefix="/users", tags=["users"], responses=problems(401))


@router.get("/me")
async def read_me(user: CurrentUser) -> UserOut:
    """Who the token belongs to."""
    return UserOut.model_validate(user)


@router.patch("/me", responses=problems(422))
async def change_me(body: ProfileIn, caller: CurrentCaller, db: DB, passwords: Hashing) -> UserOut:
    """Change the name or the password. A new password ends the caller's other sessions."""
    changes = body.model_dump(exclude={"password"})
    if isinstance(body.password, SecretStr):
        changes["password_hash"] = await passwords.hash(body.password.get_secret_value())
        await end_other_sessions(db, caller.user.id, kept=caller.session_id)
    for name, value in changes.items():
        setattr(caller.user, name, value)
    return UserOut.model_validate(caller.user)


@router.get("", responses=problems(403, 422))
async def list_users(_: AdminUser, db: DB, page: Paging) -> Page[UserOut]:
    """All accounts, oldest first."""
    items, total = await fetch_page(db, select(User).order_by(User.created_at, User.id), page)
    return Page(items=[UserOut.model_validate(user) for user in items], total=total)


@router.delete("/{user_id}", status_code=204, responses=problems(403, 404, 422))
async def delete_user(user_id: uuid.UUID, _: AdminUser, db: DB) -> None:
    """Delete an account. Its sessions go with it, so its tokens end at once."""
    if await db.scalar(delete(User).where(User.id == user_id).returning(User.id)) is None:
        raise NotFound("No such user")
