"""Webhooks that others send: verified over the raw body, and each handled once.

@router.post("/webhooks/payments", status_code=204)
async def receive(delivery: VerifiedDelivery, db: DB) -> None:
    if await is_first(db, delivery):
        await enqueue(db, "payment", PaymentEvent.model_validate_json(delivery.body).model_dump(mode="json"))
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from fastapi import Depends, Request
from sqlalchemy import String, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, utc_now
from .errors import Unauthorized
from .webhook_settings import WebhookSettings
from .webhooks import BadSignature, read_secret, verify

log = structlog.get_logger(__name__)

SOURCE = "sender"
# Longer than any sender goes on to retry.
KEPT = timedelta(days=30)


class WebhookReceipt(Base):
    """A delivery that was handled. The key makes a second one impossible, also at the same moment."""

    __tablename__ = "webhook_receipts"

    source: Mapped[str] = mapped_column(String(50), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(default=utc_now, index=True)


@dataclass(frozen=True)
class Delivery:
    source: str
    id: str
    body: bytes


async def receive_delivery(request: Request) -> Delivery:
    """The request, if it is genuine; else Unauthorized, which doesn't say why. Each sender gets such a function."""
    settings: WebhookSettings = request.app.state.settings
    secrets = [read_secret(secret.get_secret_value()) for secret in settings.webhook_secrets]
    # What JSON made of the body and back would have other bytes.
    body = await request.body()
    try:
        return Delivery(SOURCE, verify(secrets, request.headers, body, time.time()), body)
    except BadSignature:
        log.warning("webhook refused", source=SOURCE)
        raise Unauthorized("The signature is not valid") from None


VerifiedDelivery = Annotated[Delivery, Depends(receive_delivery)]


async def is_first(db: AsyncSession, delivery: Delivery) -> bool:
    """False: it was handled before, so answer 2xx and do nothing.

    It is recorded in the transaction of its effects. When that fails, the sender's next attempt is the first again.
    """
    dialect = postgresql if db.get_bind().dialect.name == "postgresql" else sqlite
    recorded = (
        dialect.insert(WebhookReceipt)
        .values(source=delivery.source, message_id=delivery.id)
        .on_conflict_do_nothing()
        .returning(WebhookReceipt.message_id)
    )
    return await db.scalar(recorded) is not None


async def purge_receipts(db: AsyncSession) -> None:
    """Call it once a day, as a job."""
    await db.execute(delete(WebhookReceipt).where(WebhookReceipt.received_at < utc_now() - KEPT))
