"""Routes in all the places where routes can be."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles

router = APIRouter()
inner = APIRouter(prefix="/{tenant}")
mounted = FastAPI()


@inner.get("/things/{thing_id}")
async def thing(tenant: str, thing_id: int) -> int:
    return thing_id


@inner.get("/breaks")
async def breaks() -> None:
    raise RuntimeError


@mounted.get("/parts/{part_id}")
async def part(part_id: int) -> int:
    return part_id


@router.get("/stream", response_class=EventSourceResponse)
async def stream() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(data=1)


@router.get("/slow")
async def slow() -> None:
    await asyncio.sleep(2)


router.include_router(inner, prefix="/v1")
router.include_router(inner, prefix="/v2")


def mount(app: FastAPI) -> None:
    app.mount("/sub", mounted)
    app.mount("/files", StaticFiles(directory="app"))
