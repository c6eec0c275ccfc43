"""Probes. Liveness says that the process answers; readiness that it can serve, so it asks the database."""

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from .errors import Unavailable, problems

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])

TIMEOUT_S = 2


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/healthz")
async def live() -> Health:
    """The process is alive. No database here: a restart would not bring it back."""
    return Health()


@router.get("/readyz", responses=problems(503))
async def ready(request: Request) -> Health:
    """The service can take requests."""
    try:
        async with asyncio.timeout(TIMEOUT_S), request.app.state.engine.connect() as connection:
            await connection.execute(text("select 1"))
    except (SQLAlchemyError, OSError) as error:
        log.warning("not ready", error=type(error).__name__)
        raise Unavailable from None
    return Health()
