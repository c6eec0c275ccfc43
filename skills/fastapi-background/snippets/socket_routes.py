"""A WebSocket for callers with an access token, `{"token": "..."}` first. It repeats what it hears: put in your own."""

from typing import Annotated

from fastapi import APIRouter, WebSocket

from .current_user import Caller, get_caller
from .fields import In, Out, text
from .sockets import open_socket

router = APIRouter()


class MessageIn(In):
    text: Annotated[str, text(1, 1000)]


class MessageOut(Out):
    sender: str
    text: str


async def authenticate(websocket: WebSocket, token: str) -> Caller:
    async with websocket.app.state.sessionmaker() as db:
        return await get_caller(websocket, db, token)


@router.websocket("/ws")
async def converse(websocket: WebSocket) -> None:
    # No DB dependency: it would hold a connection for as long as the socket is open.
    async with open_socket(websocket, authenticate) as socket:
        while True:
            message = await socket.receive(MessageIn)
            await socket.send(MessageOut(sender=str(socket.caller.user.id), text=message.text))
