"""Limits requests by client: `router = APIRouter(dependencies=[Depends(RateLimit("search", "30/minute"))])`.

The lifespan makes the limiter, `app.state.limiter = make_limiter(settings.rate_limit_storage)`, and ends with
`await close_limiter(app.state.limiter)`.
"""

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import Request
from limits import parse
from limits.aio.storage import RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from .errors import TooManyRequests

log = structlog.get_logger(__name__)

# A server that hangs must not hold each request.
STORAGE_TIMEOUT_S = 1.0


def make_limiter(storage: str = "async+memory://") -> RateLimiter:
    """Memory counts for each worker by itself; with several, name a shared one: `async+redis://host:6379/0`."""
    options: dict[str, str | bool | float] = {"wrap_exceptions": True}
    if not storage.startswith("async+memory"):
        options |= {
            "implementation": "redispy",
            "socket_timeout": STORAGE_TIMEOUT_S,
            "socket_connect_timeout": STORAGE_TIMEOUT_S,
        }
    made = storage_from_string(storage, **options)
    if not isinstance(made, Storage):
        raise TypeError("the storage of the rate limit needs async+ in front")
    return MovingWindowRateLimiter(made)


async def close_limiter(limiter: RateLimiter) -> None:
    """End the connections to the server, which `limits` leaves open."""
    if isinstance(limiter.storage, RedisStorage) and isinstance(limiter.storage.bridge, RedispyBridge):
        client: Any = limiter.storage.bridge.get_connection()
        await client.aclose()


def client_network(request: Request) -> str:
    """The client's address; of IPv6 its /64, as one client has all of that.

    uvicorn takes the address from X-Forwarded-For of trusted proxies: set --forwarded-allow-ips to the real ones, and
    never read that header here, for a client may send any.
    """
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    # A dual-stack socket shows IPv4 clients in this form, all in one /64.
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class RateLimit:
    """A dependency for a router or a route. Give `key` to count by something else, such as the user's id."""

    def __init__(self, name: str, rule: str, key: Callable[[Request], str] = client_network) -> None:
        self.name = name
        self.rule = parse(rule)
        self.key = key

    async def __call__(self, request: Request) -> None:
        limiter: RateLimiter = request.app.state.limiter
        key = self.key(request)
        try:
            if await limiter.hit(self.rule, self.name, key):
                return
            reset_time, _ = await limiter.get_window_stats(self.rule, self.name, key)
        except StorageError:
            # Open rather than down: a lost counter must not take the service with it.
            log.exception("rate limit storage failed")
            return
        raise TooManyRequests(retry_after_s=math.ceil(reset_time - time.time()))
