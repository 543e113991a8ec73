"""Following what is written: a client gets what there is, then what is committed from then on, each once.

Nothing is kept in memory for a client: it is read for it, page by page, as fast as it takes it. One that takes nothing
for a while is cut off; it can come back and ask for what it missed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import structlog

from api.errors import UNAVAILABLE
from api.herald import LOOK_SECONDS
from api.routes.websocket import POLICY_VIOLATION, PROTOCOL_ERROR, Gone, Socket
from projections.connection import first_line
from projections.feed import Horizon, read_horizon

TAKES_WITHIN = 20.0
"""How many seconds a client may leave what it is sent where it is."""

SOON = 0.05
"""After how many seconds to look again where something written is still behind a transaction under way."""

PAGE = 250
"""How many documents are read at once for one client."""

log = structlog.get_logger(__name__)


class Follower(Protocol):
    """What one client follows, and how far it has got: asked again after a failure, it goes on from there."""

    def pages(self, horizon: Horizon) -> AsyncIterator[list[bytes]]:
        """The documents before a horizon that the client does not have yet, page by page."""


async def follow(socket: Socket, follower: Follower, framed: Callable[[bytes], bytes]) -> None:
    """Send a client what it follows, each document in a frame, until it goes or the server stops. Raises Gone."""
    async with until_gone(socket):
        await _follow(socket, follower, framed)


async def _follow(socket: Socket, follower: Follower, framed: Callable[[bytes], bytes]) -> None:
    reads, herald = socket.services.reads, socket.services.herald
    herald.listen()
    while not herald.stopping:
        word, pause = herald.next_word, LOOK_SECONDS
        try:
            horizon = await reads.run(read_horizon)
            async for page in follower.pages(horizon):
                for document in page:
                    await _send(socket, framed(document))
            if horizon.behind:
                pause = SOON
        except UNAVAILABLE as error:
            log.warning("what clients follow cannot be read for now", reason=first_line(error))
        await herald.wait(word, pause)


async def _send(socket: Socket, frame: bytes) -> None:
    try:
        async with asyncio.timeout(TAKES_WITHIN):
            await socket.send(frame)
    except TimeoutError:
        log.warning("a client that does not read is cut off", client=socket.caller.actor)
        socket.cut(POLICY_VIOLATION, "What was sent was not taken in time; come back for the rest")
        raise Gone from None


class until_gone:
    """A block that ends, by Gone, when the client does; meanwhile whatever the client sends is passed over."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._gone = False

    async def __aenter__(self) -> None:
        self._block = asyncio.current_task()
        self._watch = asyncio.create_task(self._watch_out())

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        if self._gone and isinstance(error, asyncio.CancelledError):
            if self._block is not None:
                self._block.uncancel()
            raise Gone from None

    async def _watch_out(self) -> None:
        try:
            while True:
                await self._socket.receive_text()
        except Gone:
            self._gone = True
            if self._block is not None:
                self._block.cancel()


async def asked_for(socket: Socket, kind: str) -> dict[str, Any] | None:
    """The first frame of a client that is greeted, if it is of the kind that the endpoint takes; else it is refused."""
    asked = await socket.receive_object()
    if asked.get("type") == kind:
        return asked
    await socket.close(PROTOCOL_ERROR, f"Expected '{kind}' message")
    return None
