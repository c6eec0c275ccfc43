"""WebSockets whose client is known, and bounded in what it sends.

@router.websocket("/chat")
async def chat(websocket: WebSocket) -> None:
    async with open_socket(websocket, authenticate) as socket:
        while True:
            message = await socket.receive(MessageIn)
            await socket.send(Reply(...))
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Generic, TypeVar

from fastapi import WebSocket, WebSocketDisconnect, WebSocketException, status
from pydantic import BaseModel, ValidationError

from .errors import AppError
from .fields import In, text

C = TypeVar("C")
M = TypeVar("M", bound=BaseModel)

# The client's first message is its token: in a URL it would be in the logs of every proxy.
HELLO_S = 5
# So long does a session go on that was logged out, or whose token ended.
CHECK_S = 60
# uvicorn has read the message by then: --ws-max-size bounds what it takes, by default 16 MiB.
MAX_CHARACTERS = 16_384
BURST, PER_S = 20, 5
SEND_S = 10


class Hello(In):
    token: Annotated[str, text(1, 4096)]


class Socket(Generic[C]):
    """An accepted connection of `caller`."""

    def __init__(self, websocket: WebSocket, authenticate: Callable[[WebSocket, str], Awaitable[C]]) -> None:
        self._websocket = websocket
        self._authenticate = authenticate
        self._time = asyncio.get_running_loop().time
        self._allowance, self._counted_at = float(BURST), self._time()

    async def greet(self) -> None:
        try:
            async with asyncio.timeout(HELLO_S):
                self._token = (await self._next(Hello)).token
        except TimeoutError:
            raise _refusal("no token") from None
        await self._check()

    async def receive(self, model: type[M]) -> M:
        """The next message. Keep on calling it, also where only the server speaks: it notices the end of a session."""
        while True:
            # By the clock, and not only when nothing arrives: a busy client would never be checked.
            if self._time() >= self._check_at:
                await self._check()
            try:
                async with asyncio.timeout_at(self._check_at):
                    return await self._next(model)
            except TimeoutError:
                continue

    async def send(self, message: BaseModel) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._websocket.send_text(message.model_dump_json())
        except TimeoutError:
            raise _refusal("too slow") from None

    async def _next(self, model: type[M]) -> M:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", status.WS_1005_NO_STATUS_RCVD))
        self._count()
        content = message.get("text")
        if content is None:
            raise WebSocketException(status.WS_1003_UNSUPPORTED_DATA, "text only")
        if len(content) > MAX_CHARACTERS:
            raise WebSocketException(status.WS_1009_MESSAGE_TOO_BIG, "too long")
        try:
            return model.model_validate_json(content)
        except ValidationError:
            raise WebSocketException(status.WS_1007_INVALID_FRAME_PAYLOAD_DATA, "not a valid message") from None

    async def _check(self) -> None:
        try:
            self.caller = await self._authenticate(self._websocket, self._token)
        except AppError:
            raise _refusal("not authenticated") from None
        self._check_at = self._time() + CHECK_S

    def _count(self) -> None:
        now = self._time()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_S)
        self._counted_at = now
        if self._allowance < 1:
            raise _refusal("too many messages")
        self._allowance -= 1


@asynccontextmanager
async def open_socket(
    websocket: WebSocket, authenticate: Callable[[WebSocket, str], Awaitable[C]]
) -> AsyncIterator[Socket[C]]:
    """Accept a client from a known origin that shows a good token. `authenticate` raises Unauthorized."""
    origin = websocket.headers.get("origin")
    # CORS doesn't cover WebSockets: any page may open one. Programs send no origin.
    if origin is not None and origin not in websocket.app.state.settings.cors_origins:
        raise _refusal("origin not allowed")
    await websocket.accept()
    socket = Socket(websocket, authenticate)
    try:
        await socket.greet()
        yield socket
    except WebSocketDisconnect:
        # The client's right.
        return


def _refusal(reason: str) -> WebSocketException:
    return WebSocketException(status.WS_1008_POLICY_VIOLATION, reason)
