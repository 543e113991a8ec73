"""What the websockets of the API share: the handshake of 3.x clients, who calls, and how a connection is closed.

An endpoint is a coroutine that takes a `Socket` whose client was greeted, and ends when it is done with it.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pydantic_core import to_json
from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from api.call import Services, is_own_origin
from api.dialect import dialect_of
from api.endpoint import PREFIX
from api.errors import UNAVAILABLE
from api.websocket_protocol import CUT, PING, PONG
from domain.commands.command import Caller

SUBPROTOCOL = "prefect"

PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
LONGEST_REASON = 120
"""Bytes of a reason for closing; a close frame has room for no more than 123 (RFC 6455, section 5.5)."""

log = structlog.get_logger(__name__)


class Gone(Exception):
    """The client went away."""


class Socket:
    """One client on a websocket. `caller` is who it says it is, `params` are the words that stand in the path."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, services: Services) -> None:
        self.services = services
        self.params: dict[str, str] = scope.get("path_params", {})
        self._receive = receive
        self._send = send
        self._subprotocols = scope.get("subprotocols", [])
        self._cut = scope.get("extensions", {}).get(CUT, {}).get("cut")
        self._pong = scope.get("extensions", {}).get(PONG, {}).get("send")
        headers = HTTPConnection(scope).headers
        origin = headers.get("origin")
        self._foreign = origin is not None and not is_own_origin(origin.encode(), headers.get("host", "").encode())
        agent = headers.get("user-agent", "")
        dialect = dialect_of(agent, headers.get("x-prefect-api-version", ""), services.settings.dialect)
        self.caller = Caller(agent or "unknown", dialect, headers.get("x-request-id"), headers.get("traceparent"))

    async def shake_hands(self) -> bool:
        """Accept, and greet those who speak the subprotocol; 2.20 clients do not and send at once what they have.

        False where the client was refused or went away.
        """
        await self._receive()
        if self._foreign:
            await self.close(POLICY_VIOLATION, "Pages of other origins may not write here")
            return False
        if SUBPROTOCOL not in self._subprotocols:
            await self._send({"type": "websocket.accept"})
            return True
        await self._send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return False
            if message["type"] == PING:
                self.answer_ping(message)
                continue
            if not _is_auth(message):
                await self.close(POLICY_VIOLATION, "Expected an auth message")
                return False
            await self.send({"type": "auth_success"})
            return True

    async def receive(self) -> Message:
        """The next message: a frame, or, on paths where pings are held, a ping. Raises Gone."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        return message

    async def receive_text(self) -> str:
        """The text of the next frame. Raises Gone."""
        while True:
            message = await self.receive()
            if message["type"] == "websocket.receive":
                return message.get("text") or ""
            self.answer_ping(message)

    async def receive_object(self) -> dict[str, Any]:
        """The JSON object of the next frame; anything else counts as an empty one. Raises Gone."""
        try:
            content: Any = json.loads(await self.receive_text())
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    async def send(self, content: Any) -> None:
        """Send content as one frame of JSON; bytes are JSON already."""
        text = content if isinstance(content, bytes) else to_json(content)
        await self._send({"type": "websocket.send", "text": text.decode()})

    def cut(self, code: int, reason: str) -> None:
        """End the connection of a client that does not take what it is sent."""
        if self._cut is not None:
            self._cut(code, _short(reason))

    async def close(self, code: int, reason: str) -> None:
        """End the connection, telling the client why; nothing can be sent after that."""
        await self._send({"type": "websocket.close", "code": code, "reason": _short(reason)})

    def answer_ping(self, message: Message) -> None:
        """Send the pong to a ping that was held."""
        if self._pong is not None:
            self._pong(message["payload"])


Serve = Callable[[Socket], Awaitable[None]]


def websocket(path: str, services: Services, serve: Serve) -> WebSocketRoute:
    """The route of a websocket under `/api`, which `serve` serves to every client that was greeted.

    A client whose endpoint finds the database gone is told to come back.
    """
    return WebSocketRoute(PREFIX + path, _Served(services, serve))


class _Served:
    """A websocket as an ASGI application."""

    def __init__(self, services: Services, serve: Serve) -> None:
        self._services = services
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = Socket(scope, receive, send, self._services)
        try:
            if await socket.shake_hands():
                await self._serve(socket)
        except Gone:
            return
        except UNAVAILABLE as error:
            log.warning("a client of a websocket is asked to come back", path=scope["path"], reason=str(error))
            await socket.close(TRY_AGAIN_LATER, str(error))


def _is_auth(message: Message) -> bool:
    try:
        content: Any = json.loads(message.get("text") or "")
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("type") == "auth"


def _short(reason: str) -> str:
    return reason.encode()[:LONGEST_REASON].decode(errors="ignore")
