"""The websocket `events/in`: 3.x clients report their task runs here, and take a pong for the word that all is safe."""

import asyncio
import json
from collections import deque
from typing import Any

import structlog
from starlette.requests import HTTPConnection
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from api.call import Services, is_own_origin
from api.dialect import dialect_of
from api.endpoint import PREFIX
from api.task_run_events import BAD_EVENT, in_short, parse_event, report_of
from api.websocket_protocol import PING, PONG
from domain.commands.command import Answer, Caller
from domain.errors import ForeignShape, StoreUnavailable

SUBPROTOCOL = "prefect"
IN_FLIGHT = 1_000
"""Most reports of one client that may wait for their commit; no more are read until the oldest is safe."""

TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

log = structlog.get_logger(__name__)


def route(services: Services) -> WebSocketRoute:
    return WebSocketRoute(f"{PREFIX}/events/in", EventsIn(services))


class EventsIn:
    """The ASGI application behind the websocket."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = _Connection(self._services, scope, receive, send)
        try:
            if await connection.shake_hands():
                await connection.take_events()
        except (StoreUnavailable, ForeignShape) as error:
            log.warning("a client is asked to come back with its events", reason=str(error))
            await connection.close(TRY_AGAIN_LATER, str(error))
        finally:
            connection.let_go()


class _Connection:
    """One client on the websocket, and its reports that are not committed yet."""

    def __init__(self, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        self._queue = services.queue
        self._receive = receive
        self._send = send
        self._subprotocols = scope.get("subprotocols", [])
        self._pong = scope.get("extensions", {}).get(PONG, {}).get("send")
        headers = HTTPConnection(scope).headers
        origin = headers.get("origin")
        self._foreign = origin is not None and not is_own_origin(origin.encode(), headers.get("host", "").encode())
        agent = headers.get("user-agent", "")
        dialect = dialect_of(agent, headers.get("x-prefect-api-version", ""), services.settings.dialect)
        self._caller = Caller(agent or "unknown", dialect, headers.get("x-request-id"), headers.get("traceparent"))
        self._in_flight: deque[asyncio.Future[Answer]] = deque()

    async def shake_hands(self) -> bool:
        """Accept, and greet those who speak the subprotocol; 2.20 clients do not and send events at once."""
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
                self._answer_ping(message)
                continue
            if not _is_auth(message):
                await self.close(POLICY_VIOLATION, "Expected an auth message")
                return False
            await self._send({"type": "websocket.send", "text": json.dumps({"type": "auth_success"})})
            return True

    async def take_events(self) -> None:
        """Take events until the client goes. Raises StoreUnavailable when a report could not be committed."""
        while True:
            message = await self._receive()
            match message["type"]:
                case "websocket.disconnect":
                    await self._settle(0)
                    return
                case "websocket.receive":
                    self._take(message.get("text") or "")
                    await self._settle(IN_FLIGHT)
                case t if t == PING:
                    await self._settle(0)
                    self._answer_ping(message)

    def _take(self, frame: str) -> None:
        try:
            command = report_of(parse_event(frame), self._caller)
        except BAD_EVENT as error:
            log.warning("an event was ignored", client=self._caller.actor, reason=in_short(error))
            return
        if command is not None:
            self._in_flight.append(self._queue.submit(command, len(frame)))

    async def _settle(self, left: int) -> None:
        """Wait until no more than so many reports are in flight. What the ledger refuses is logged and gone."""
        while len(self._in_flight) > left:
            try:
                await self._in_flight.popleft()
            except (StoreUnavailable, ForeignShape):
                raise
            except Exception as error:
                log.warning("a reported state was refused", client=self._caller.actor, reason=str(error))

    def let_go(self) -> None:
        """Leave what is in flight to itself: nobody waits for its outcome any more."""
        for future in self._in_flight:
            future.add_done_callback(_look)

    def _answer_ping(self, message: Message) -> None:
        if self._pong is not None:
            self._pong(message["payload"])

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})


def _look(future: "asyncio.Future[Answer]") -> None:
    if not future.cancelled():
        future.exception()


def _is_auth(message: Message) -> bool:
    try:
        content: Any = json.loads(message.get("text") or "")
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("type") == "auth"
