"""The websocket `events/in`: 3.x clients report their task runs here, and take a pong for the word that all is safe."""

import asyncio
from collections import deque
from typing import Any

import structlog
from starlette.routing import WebSocketRoute

from api.call import Services
from api.routes.websocket import Gone, Socket, websocket
from api.task_run_events import BAD_EVENT, in_short, parse_event, report_of
from api.websocket_protocol import PING
from domain.errors import ForeignShape, StoreUnavailable

IN_FLIGHT = 1_000
"""Most reports of one client that may wait for their commit; no more are read until the oldest is safe."""

log = structlog.get_logger(__name__)


def route(services: Services) -> WebSocketRoute:
    return websocket("/events/in", services, take_events)


async def take_events(socket: Socket) -> None:
    """Take events until the client goes. Raises StoreUnavailable when a report could not be committed."""
    reports = _Reports(socket)
    try:
        await reports.take_all()
    finally:
        reports.let_go()


class _Reports:
    """The reports and other events of one client that are not committed yet."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._queue = socket.services.queue
        self._in_flight: deque[asyncio.Future[Any]] = deque()

    async def take_all(self) -> None:
        while True:
            try:
                message = await self._socket.receive()
            except Gone:
                await self._settle(0)
                return
            match message["type"]:
                case "websocket.receive":
                    self._take(message.get("text") or "")
                    await self._settle(IN_FLIGHT)
                case t if t == PING:
                    await self._settle(0)
                    self._socket.answer_ping(message)

    def _take(self, frame: str) -> None:
        caller = self._socket.caller
        try:
            event = parse_event(frame)
            command = report_of(event, caller)
        except BAD_EVENT as error:
            log.warning("an event was ignored", client=caller.actor, reason=in_short(error))
            return
        if command is None:
            self._in_flight.append(self._socket.services.client_events.submit(event))
        else:
            self._in_flight.append(self._queue.submit(command, len(frame)))

    async def _settle(self, left: int) -> None:
        """Wait until no more than so many reports are in flight. What the ledger refuses is logged and gone."""
        while len(self._in_flight) > left:
            try:
                await self._in_flight.popleft()
            except (StoreUnavailable, ForeignShape):
                raise
            except Exception as error:
                log.warning("a reported state was refused", client=self._socket.caller.actor, reason=str(error))

    def let_go(self) -> None:
        """Leave what is in flight to itself: nobody waits for its outcome any more."""
        for future in self._in_flight:
            future.add_done_callback(_look)


def _look(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()
