"""Answers: a status and JSON text that is ready to be sent, compressed for those who ask for that."""

import asyncio
import gzip
from typing import Any

from pydantic_core import to_json
from starlette.types import Send

WORTH_COMPRESSING = 1024
"""Bytes above which an answer is compressed for callers that take it so."""

LARGE = 64 * 1024
"""Bytes above which compressing would keep others waiting, so that it is done in a thread."""


class Answer:
    """An answer with a JSON body, or with none. Sent as it is, without another look at it."""

    __slots__ = ("body", "content_type", "headers", "status")

    timed = True
    """Whether it is worth noting how long it took to send."""

    def __init__(
        self,
        body: bytes | None,
        status: int = 200,
        *,
        headers: dict[str, str] | None = None,
        content_type: bytes = b"application/json",
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers
        self.content_type = content_type

    async def send(self, send: Send, *, compressed: bool = False) -> None:
        """Send it, in gzip if `compressed` and if that is worth while (RFC 9110, section 8.4.1.3)."""
        body = self.body
        headers: list[tuple[bytes, bytes]] = []
        if body is not None:
            headers.append((b"content-type", self.content_type))
            if len(body) > WORTH_COMPRESSING:
                headers.append((b"vary", b"accept-encoding"))
                if compressed:
                    body = await _compress(body)
                    headers.append((b"content-encoding", b"gzip"))
            headers.append((b"content-length", b"%d" % len(body)))
        if self.headers:
            headers.extend((name.lower().encode(), value.encode()) for name, value in self.headers.items())
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body or b""})


async def _compress(body: bytes) -> bytes:
    if len(body) < LARGE:
        return gzip.compress(body, 1, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, 1, mtime=0)


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer whose content is yet to be written as JSON; numbers that JSON has no words for become null."""
    return Answer(to_json(content, inf_nan_mode="null"), status, headers=headers)


NO_CONTENT = Answer(None, 204)
