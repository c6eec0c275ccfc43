"""Events for whoever asks for them, and what the process holds meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request

from .current_user import CurrentUser
from .database import DB
from .errors import Conflict
from .events import Feed, emit
from .shutdown import on_stop_signal

router = APIRouter()


@router.post("/emit")
async def send(user: CurrentUser, db: DB, first: int, last: int, fails: bool = False) -> None:
    for number in range(first, last + 1):
        await emit(db, f"user:{user.id}", "counted", {"number": number})
    if fails:
        raise Conflict


@router.get("/held")
async def held(request: Request) -> dict[str, int]:
    """Connections in use, and streams."""
    feed: Feed = request.app.state.feed
    return {
        "connections": request.app.state.engine.pool.checkedout(),
        "streams": sum(len(clients) for clients in feed._clients.values()),
    }


@asynccontextmanager
async def feeding(app: FastAPI) -> AsyncIterator[None]:
    async with Feed(app.state.sessionmaker, poll_s=0.05) as app.state.feed:
        with on_stop_signal(app.state.feed.close):
            yield
