"""A service that is called by one that pays, and calls those who want to know."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import delete

from .database import DB
from .errors import Conflict
from .jobs import Worker
from .notes import Note
from .webhooks_in import VerifiedDelivery, is_first
from .webhooks_out import KIND, WebhookEndpoint, WebhookSender, change_secret, publish, shown_secret

router = APIRouter()


class EndpointOut(BaseModel):
    id: uuid.UUID
    secret: str


class Payment(BaseModel):
    title: str


@router.post("/endpoints")
async def register(owner: str, url: str, request: Request, db: DB) -> EndpointOut:
    endpoint = WebhookEndpoint(owner=owner, url=url)
    db.add(endpoint)
    await db.flush()
    return EndpointOut(id=endpoint.id, secret=shown_secret(request.app.state.settings, endpoint))


@router.post("/endpoints/{endpoint_id}/secret")
async def change(endpoint_id: uuid.UUID, request: Request, db: DB) -> EndpointOut:
    endpoint = await db.get_one(WebhookEndpoint, endpoint_id)
    change_secret(endpoint)
    return EndpointOut(id=endpoint.id, secret=shown_secret(request.app.state.settings, endpoint))


@router.post("/orders")
async def order(owner: str, db: DB, number: int, fails: bool = False) -> None:
    await publish(db, owner, "order.created", {"number": number})
    if fails:
        raise Conflict


@router.post("/webhooks/payments", status_code=204)
async def receive(delivery: VerifiedDelivery, db: DB) -> None:
    if await is_first(db, delivery):
        db.add(Note(title=Payment.model_validate_json(delivery.body).title))


@asynccontextmanager
async def working(app: FastAPI) -> AsyncIterator[None]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        sender = WebhookSender(app.state.settings, client)
        async with Worker(app.state.sessionmaker, {KIND: sender.deliver}, poll_s=0.05):
            yield


@router.delete("/titles/{title}", status_code=204)
async def free_title(title: str, db: DB) -> None:
    await db.execute(delete(Note).where(Note.title == title))
