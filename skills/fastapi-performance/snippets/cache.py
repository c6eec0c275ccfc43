"""Answers that are expensive to make, kept in Redis or Valkey: one maker at a time, and never a failure because of it.

    SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)

    key = cache_key("summary", user=user.id, month="2026-11")
    return await cache.get(key, SUMMARY, lambda: make_summary(db, user.id))

In the lifespan: `app.state.cache = Cache(make_redis(settings.redis_url))`, at its end `await app.state.cache.close()`.
"""

import asyncio
import hashlib
import json
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, TypeVar

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

T = TypeVar("T")

# For what is the same for everybody.
EVERYBODY: Final = None
TTL_S = 60
# "There is none" is kept more shortly: it is what changes next.
ABSENT_TTL_S = 5
# Longer than making takes. Whoever waited as long makes its own.
LOCK_S = 10
MAX_BYTES = 1_000_000
# After a failure the server is left alone for a while, so that its time limit isn't added to each request.
PAUSE_S = 5

# The value again: whoever made it may have ended since it was looked for.
CLAIM = """
local value = redis.call('get', KEYS[1])
if value then return {'value', value} end
if redis.call('set', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'mine'} end
return {'others'}
"""
# Who was overtaken by `forget`, or whose lock ran out, must not store what it read before.
STORE = """
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3])
return redis.call('del', KEYS[2])
"""
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


def make_redis(url: str, *, limit_s: float = 0.5) -> Redis:
    """A client that fails fast: a cache that answers slowly is worse than none. With all connections busy it waits."""
    limits = {"socket_timeout": limit_s, "socket_connect_timeout": limit_s, "retry": Retry(NoBackoff(), 0)}
    return Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=50, timeout=limit_s, **limits))


def cache_key(name: str, *, user: uuid.UUID | int | str | None, **parts: object) -> str:
    """A key with all that the value depends on; `user=EVERYBODY` has to be said.

    Parts are hashed: so they can't run into each other, and a key stays short whatever a client sends. Put a new number
    into `name` ("summary2") when the shape of the value changes.
    """
    told = json.dumps([None if user is None else str(user), parts], sort_keys=True, default=str)
    # Braces keep a value and its lock on one server of a cluster.
    return f"cache:{name}:{{{hashlib.sha256(told.encode()).hexdigest()}}}"


class Cache:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._claim, self._store, self._unlock = map(redis.register_script, (CLAIM, STORE, RELEASE))
        self._paused_until = 0.0

    async def close(self) -> None:
        await self._redis.aclose()

    async def get(
        self, key: str, shape: TypeAdapter[T], make: Callable[[], Awaitable[T]], *, ttl_s: float = TTL_S
    ) -> T:
        """The stored value, else the one that `make` gives. None is kept ABSENT_TTL_S. What it raises isn't kept."""
        token = secrets.token_hex(16)
        deadline = time.monotonic() + LOCK_S
        pause_s = 0.01
        while True:
            found = await self._look(key, token)
            if isinstance(found, bytes):
                try:
                    return shape.validate_json(found)
                except ValidationError:
                    log.warning("cached value has another shape", key=key)
                    await self._try(self._redis.delete(key))
            elif found == "mine":
                return await self._fill(key, token, shape, make, ttl_s)
            elif found == "away" or time.monotonic() > deadline:
                return await make()
            else:
                # Somebody makes it.
                await asyncio.sleep(pause_s * secrets.SystemRandom().uniform(0.5, 1.5))
                pause_s = min(pause_s * 2, 0.2)

    async def forget(self, *keys: str) -> None:
        """After the commit of what they were made from, so in a background task.

        Taking the lock away too keeps whoever is making the value at this moment from storing the old one.
        """
        if keys:
            await self._try(self._redis.delete(*keys, *map(_lock, keys)))

    async def _look(self, key: str, token: str) -> bytes | Literal["mine", "others", "away"]:
        if time.monotonic() < self._paused_until:
            return "away"
        try:
            value = await self._redis.get(key)
            if value is not None:
                return _bytes(value)
            answer = await self._claim(keys=[key, _lock(key)], args=[token, int(LOCK_S * 1000)])
        except (RedisError, OSError) as error:
            self._failed(error)
            return "away"
        state = _bytes(answer[0])
        if state == b"value":
            return _bytes(answer[1])
        return "mine" if state == b"mine" else "others"

    async def _fill(
        self, key: str, token: str, shape: TypeAdapter[T], make: Callable[[], Awaitable[T]], ttl_s: float
    ) -> T:
        try:
            value = await make()
        except BaseException:
            # Also when the request was cancelled: the next one makes it at once.
            await asyncio.shield(self._release(key, token))
            raise
        encoded = shape.dump_json(value)
        if len(encoded) > MAX_BYTES:
            log.warning("value is too large for the cache", key=key, bytes=len(encoded))
            await self._release(key, token)
            return value
        kept_s = ABSENT_TTL_S if value is None else ttl_s
        # Values that were made together must not end together.
        kept_ms = int(kept_s * 1000 * secrets.SystemRandom().uniform(0.9, 1.1))
        await self._try(self._store(keys=[key, _lock(key)], args=[token, encoded, kept_ms]))
        return value

    async def _release(self, key: str, token: str) -> None:
        await self._try(self._unlock(keys=[_lock(key)], args=[token]))

    async def _try(self, command: Awaitable[Any]) -> None:
        try:
            await command
        except (RedisError, OSError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + PAUSE_S
        log.warning("cache is away", error=type(error).__name__)


def _lock(key: str) -> str:
    return f"{key}:lock"


def _bytes(value: bytes | str) -> bytes:
    """Also where the client was made with `decode_responses`."""
    return value.encode() if isinstance(value, str) else value
