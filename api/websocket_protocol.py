"""The websocket protocol of the server, which lets one endpoint decide when a ping is answered.

A 3.x client takes the pong to its ping as the word that every event it sent before is safe. uvicorn answers pings as
soon as they arrive, even while frames before them wait to be read. Here, on the paths that need it, a ping is put in
line with the frames, and the pong is sent when the application says so.
"""

from collections import deque
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

HELD_PATHS = frozenset({"/api/events/in"})
PING = "flowledger.ping"
"""The type of the message by which an application learns of a held ping; `payload` is what the pong must carry."""
PONG = "flowledger.pong"
"""The scope extension that holds the function by which an application answers a held ping."""
CUT = "flowledger.cut"
"""The scope extension that holds the function by which an application ends a connection whose client does not read."""


class _HoldingConnection(ServerProtocol):
    """A connection that, while `holding`, keeps the payloads of pings instead of answering them."""

    holding = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: deque[bytes] = deque()

    def recv_frame(self, frame: Frame) -> None:
        if self.holding and frame.opcode is Opcode.PING:
            self.held.append(bytes(frame.data))
            self.events.append(frame)
        else:
            super().recv_frame(frame)


class HeldPongProtocol(WebSocketsSansIOProtocol):
    """Hands pings on HELD_PATHS to the application as messages of type PING, in order with the frames around them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usual = self.conn
        self.conn: _HoldingConnection = _HoldingConnection(
            extensions=usual.available_extensions, max_size=self.config.ws_max_size, logger=usual.logger
        )

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not hasattr(self, "scope"):
            return
        extensions: Any = self.scope["extensions"]
        extensions[CUT] = {"cut": self.cut}
        if event.path.partition("?")[0] in HELD_PATHS:
            self.conn.holding = True
            extensions[PONG] = {"send": self.send_pong}

    def handle_ping(self) -> None:
        if not self.conn.holding:
            super().handle_ping()
            return
        message: Any = {"type": PING, "payload": self.conn.held.popleft()}
        self.queue.put_nowait(message)

    def send_pong(self, payload: bytes) -> None:
        """Answer a held ping, unless the connection has gone."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.conn.send_pong(payload)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def cut(self, code: int, reason: str) -> None:
        """End the connection although what was sent has not been taken: the client gets the code if it ever reads on.

        Ending it in good order would wait for the client.
        """
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
