"""Routes that show what a server believes of its callers, and that fetch what they name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Form, Request, Response, WebSocket
from pydantic import BaseModel, ConfigDict

from .errors import problems
from .fields import In, text
from .outgoing import Outgoing
from .rate_limit import RateLimit, close_limiter, make_limiter
from .settings import Settings


class GateSettings(Settings):
    rate_limit_storage: str = "async+memory://"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.outgoing = Outgoing()
    app.state.limiter = make_limiter(GateSettings.model_validate({}).rate_limit_storage)
    yield
    await app.state.outgoing.aclose()
    await close_limiter(app.state.limiter)


router = APIRouter(prefix="/gates", responses=problems(403, 422, 429, 502), lifespan=lifespan)


class Target(In):
    url: Annotated[str, text(1, 2000)]


@router.post("/fetch")
async def fetch(body: Target, request: Request) -> int:
    outgoing: Outgoing = request.app.state.outgoing
    return (await outgoing.fetch("GET", body.url)).status


@router.post("/webhooks", status_code=204)
async def register(body: Target, request: Request) -> None:
    outgoing: Outgoing = request.app.state.outgoing
    await outgoing.check(body.url)


@router.get("/seen")
async def seen(request: Request) -> list[str | None]:
    return [request.client.host if request.client else None, request.url.scheme]


class Fields(BaseModel):
    model_config = ConfigDict(extra="allow")


@router.post("/form", status_code=204)
async def form(body: Annotated[Fields, Form()]) -> None:
    """Takes any fields, as many as the limits of the app let through."""


@router.post("/form-by-hand", status_code=204)
async def form_by_hand(request: Request) -> None:
    async with request.form():
        pass


@router.get("/limited", dependencies=[Depends(RateLimit("gates", "3/minute"))])
async def limited(response: Response) -> None:
    """Three a minute, in all workers together where the storage is shared."""


@router.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()
