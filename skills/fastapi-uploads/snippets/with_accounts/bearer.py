"""Who calls, where the service has accounts of its own: their access tokens, with their sessions."""

from typing import Annotated, Final

from fastapi import Depends

from .current_user import CurrentUser

# A UUID with its hyphens.
MAX_SUBJECT: Final = 36


async def current_user(user: CurrentUser) -> str:
    """The id of the account. A token alone is not enough: its session may have ended."""
    return str(user.id)


UserId = Annotated[str, Depends(current_user)]
