"""A reader of server-sent events, which takes in only what came whole, as browsers do (WHATWG HTML, 9.2.6)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.server_process import PATIENCE, ServerProcess

PATH = "ledger/events"
STREAM = {"Accept": "text/event-stream"}


class EventStream:
    """One connection to the feed of a ledger. `last_id` is where a reader that comes back begins."""

    def __init__(self, answer: httpx.Response, last_id: str | None) -> None:
        self.last_id = last_id
        self.events = self._read(answer)

    async def take(self, number: int) -> list[dict[str, Any]]:
        """The next so many events."""
        return [await anext(self.events) for _ in range(number)]

    async def _read(self, answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
        """Each event once it came whole, until the server ends the stream."""
        rest = b""
        async for chunk in answer.aiter_raw():
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
                if b"id" in fields:
                    self.last_id = fields[b"id"].decode()
                if b"data" in fields:
                    event: dict[str, Any] = json.loads(fields[b"data"])
                    assert event["position"] == int(fields[b"id"])
                    yield event


@asynccontextmanager
async def streaming(
    server: ServerProcess, last_id: str | None = None, **query: str | int | list[str]
) -> AsyncIterator[EventStream]:
    """A stream of the events that a query asks for, from behind the last id on, if there is one."""
    headers = STREAM | ({} if last_id is None else {"Last-Event-ID": last_id})
    async with (
        httpx.AsyncClient(base_url=server.api, timeout=PATIENCE) as client,
        client.stream("GET", PATH, params=query, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield EventStream(answer, last_id)
