"""A sum that takes long to make, cached for each user; what it cost is counted in the database."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import func, select

from .cache import Cache, cache_key, make_redis
from .database import DB
from .notes import Note

router = APIRouter()


class Summary(BaseModel):
    user: str
    made: int


SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)


@router.get("/summary")
async def summary(user: str, request: Request) -> Summary:
    async def make() -> Summary:
        async with request.app.state.sessionmaker() as db, db.begin():
            db.add(Note(title=f"made {secrets.token_hex(8)}"))
            await db.flush()
            made = await db.scalar(select(func.count()).select_from(Note)) or 0
        await asyncio.sleep(0.3)
        return Summary(user=user, made=made)

    cache: Cache = request.app.state.cache
    return await cache.get(cache_key("summary", user=user), SUMMARY, make)


@router.post("/change")
async def change(user: str, request: Request, db: DB, tasks: BackgroundTasks) -> None:
    db.add(Note(title=f"changed {secrets.token_hex(8)}"))
    tasks.add_task(request.app.state.cache.forget, cache_key("summary", user=user))


@asynccontextmanager
async def caching(app: FastAPI) -> AsyncIterator[None]:
    app.state.cache = Cache(make_redis(app.state.settings.redis_url, limit_s=5))
    try:
        yield
    finally:
        await app.state.cache.close()
