"""One keep-alive connection of many: HTTP at so low a cost that the server, not the client, sets the pace."""

import asyncio
import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.support.server_process import ServerProcess

LOST = (OSError, EOFError)
"""What a request raises when the server goes away before its answer is whole."""


@dataclass
class HttpConnection:
    """A connection to one server, for one request at a time. Use it as an asynchronous context."""

    server: ServerProcess
    headers: dict[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self.server.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and decoded body of the answer to a JSON body. Raises one of LOST when there is no answer."""
        return await self.request("POST", path, json.dumps(body).encode())

    async def request(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and decoded body of the answer to these bytes. Raises one of LOST when there is no answer."""
        fields = {
            "Host": "test",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        lines = [f"{method} /api{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, length = int(head[9:12]), head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        answer = await self._reader.readexactly(int(length or 0))
        return status, json.loads(answer) if answer else None
