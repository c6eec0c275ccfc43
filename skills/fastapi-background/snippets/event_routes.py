"""The caller's events, as a stream that a browser reads with fetch (EventSource can't send an Authorization header)."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from .current_user import CurrentUser
from .errors import problems
from .events import Feed

router = APIRouter(tags=["events"], responses=problems(401, 422, 429))


async def get_topic(user: CurrentUser, request: Request) -> str:
    """Never from the request: whoever names a topic reads it."""
    feed: Feed = request.app.state.feed
    topic = f"user:{user.id}"
    feed.check_room(topic)
    return topic


@router.get("/events", response_class=EventSourceResponse)
async def stream_events(
    request: Request,
    topic: Annotated[str, Depends(get_topic)],
    last_event_id: Annotated[int | None, Header(ge=0, lt=2**63)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events of the caller. Come back with Last-Event-ID, and reload everything on the event `reset`."""
    feed: Feed = request.app.state.feed
    async for event in feed.stream(topic, last_event_id):
        yield event
