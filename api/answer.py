"""Answers: a status and JSON text that is ready to be sent."""

from typing import Any

from pydantic_core import to_json
from starlette.types import Send


class Answer:
    """An answer with a JSON body, or with none. Sent as it is, without another look at it."""

    __slots__ = ("body", "content_type", "headers", "status")

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

    async def send(self, send: Send) -> None:
        body = self.body
        headers = [] if body is None else [(b"content-type", self.content_type), (b"content-length", b"%d" % len(body))]
        if self.headers:
            headers.extend((name.lower().encode(), value.encode()) for name, value in self.headers.items())
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body or b""})


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """An answer whose content is yet to be written as JSON; numbers that JSON has no words for become null."""
    return Answer(to_json(content, inf_nan_mode="null"), status, headers=headers)


NO_CONTENT = Answer(None, 204)
