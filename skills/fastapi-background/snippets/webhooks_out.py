"""Webhooks that this service sends: published in the transaction of the change, delivered by a worker, retried.

Handlers of the worker: `{"webhook": WebhookSender(settings, client).deliver}`. The client must refuse private
addresses, as the URLs come from users.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx2
import structlog
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from .database import Base, Timestamps, utc_now
from .jobs import Claim, enqueue
from .webhook_settings import WebhookSettings
from .webhooks import show_secret, sign

log = structlog.get_logger(__name__)

KIND = "webhook"
TIMEOUT_S = 15
# How long requests carry the signature of the secret before, too.
OVERLAP = timedelta(days=1)
GONE = 410


class WebhookEndpoint(Timestamps, Base):
    """Where one account wants to be called. Its secrets are computed, so the table tells nobody how to sign."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner: Mapped[str] = mapped_column(String(64), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    enabled: Mapped[bool] = mapped_column(default=True)
    secret_version: Mapped[int] = mapped_column(default=1)
    secret_changed_at: Mapped[datetime | None]


class NotDelivered(Exception):
    """The receiver didn't answer 2xx; the job is tried again."""


def endpoint_secret(settings: WebhookSettings, endpoint: WebhookEndpoint, version: int | None = None) -> bytes:
    """For the owner, as `show_secret(...)`, over a route that only the owner can call."""
    purpose = f"webhook:{endpoint.id}:{version or endpoint.secret_version}".encode()
    return hmac.digest(settings.webhook_key.get_secret_value().encode(), purpose, hashlib.sha256)


def shown_secret(settings: WebhookSettings, endpoint: WebhookEndpoint) -> str:
    return show_secret(endpoint_secret(settings, endpoint))


def change_secret(endpoint: WebhookEndpoint) -> None:
    endpoint.secret_version += 1
    endpoint.secret_changed_at = utc_now()


async def publish(db: AsyncSession, owner: str, kind: str, data: Mapping[str, Any]) -> None:
    """Queue an event for each of the owner's endpoints. `data` is JSON, and what the owner may see."""
    endpoints = await db.scalars(
        select(WebhookEndpoint.id).where(WebhookEndpoint.owner == owner, WebhookEndpoint.enabled)
    )
    event = {"type": kind, "timestamp": utc_now().isoformat(), "data": dict(data)}
    # The text is made once, so that each attempt sends the same bytes.
    body = json.dumps(event, separators=(",", ":"), allow_nan=False)
    for endpoint_id in endpoints.all():
        await enqueue(db, KIND, {"endpoint": str(endpoint_id), "body": body})


class WebhookSender:
    """The handler. `client` belongs to the caller and follows no redirects."""

    def __init__(self, settings: WebhookSettings, client: httpx2.AsyncClient) -> None:
        self._settings = settings
        self._client = client

    async def deliver(self, db: AsyncSession, job: Claim) -> None:
        endpoint = await db.get(WebhookEndpoint, uuid.UUID(job.payload["endpoint"]))
        if endpoint is None or not endpoint.enabled:
            return
        # Nothing was written: it gives the connection back while the receiver takes its time. A rollback would also
        # expire the endpoint.
        await db.commit()
        status = await self._post(endpoint, str(job.id), job.payload["body"].encode())
        if status == GONE:
            endpoint = await db.get_one(WebhookEndpoint, endpoint.id)
            endpoint.enabled = False
            log.info("webhook endpoint is gone", endpoint=str(endpoint.id))
        elif not 200 <= status < 300:
            raise NotDelivered(f"status {status}")

    async def _post(self, endpoint: WebhookEndpoint, message_id: str, body: bytes) -> int:
        headers = sign(self._secrets(endpoint), message_id, int(time.time()), body)
        headers |= {"Content-Type": "application/json", "User-Agent": "webhooks/1"}
        # The client's own limits are for each read; this one is for all. The body of the answer isn't read.
        async with (
            asyncio.timeout(TIMEOUT_S),
            self._client.stream("POST", endpoint.url, content=body, headers=headers, follow_redirects=False) as answer,
        ):
            return answer.status_code

    def _secrets(self, endpoint: WebhookEndpoint) -> list[bytes]:
        secrets = [endpoint_secret(self._settings, endpoint)]
        if endpoint.secret_changed_at and utc_now() - endpoint.secret_changed_at < OVERLAP:
            secrets.append(endpoint_secret(self._settings, endpoint, endpoint.secret_version - 1))
        return secrets
