"""The HTTP protocol of the server, which sends the head and the body of an answer in one go.

uvicorn writes them one after the other, and uvloop hands each to the kernel at once: two system calls, two packets and
two wake-ups of the client for every answer. Measured on reads of one run, the second one cost a tenth of the CPU time.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CUT = "flowledger.http.cut"
"""The extension of a request by which its connection can be ended at once."""

LONG = 64 * 1024
"""Bytes beyond which copying a body costs more than to hand the kernel two pieces."""


class JoinedWrites:
    """A transport that keeps what is written until the event loop turns, then writes it as one."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._kept:
            self._loop.call_soon(self._flush)
        self._kept.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._kept and not self._transport.is_closing():
            if len(self._kept[-1]) > LONG:
                self._transport.writelines(self._kept)
            else:
                self._transport.write(b"".join(self._kept))
        self._kept = []


class JoinedWritesProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport that joins writes; under CUT, requests have what ends their connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {CUT: self._cut}
        self.scope["extensions"] = extensions

    def _cut(self) -> None:
        """End the connection although what was sent has not been taken: to end it in good order would wait for that."""
        self.transport.abort()
