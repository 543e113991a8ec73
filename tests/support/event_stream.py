"""A reader of server-sent events, which takes in only what came whole, as browsers do (WHATWG HTML, 9.2.6)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.server_process import PATIENCE, ServerProcess

PATH = "ledger/events"
STREAM = {"Accept": "text/event-stream"}


@dataclass
class EventStream:
    """One connection to the feed of a ledger. `last_id` is where a reader that comes back begins."""

    answer: httpx.Response
    last_id: str | None = None
    _rest: bytes = field(default=b"", repr=False)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Each event once it came whole, until the server ends the stream."""
        async for chunk in self.answer.aiter_raw():
            self._rest += chunk
            *blocks, self._rest = self._rest.split(b"\n\n")
            for block in blocks:
                fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
                if b"id" in fields:
                    self.last_id = fields[b"id"].decode()
                if b"data" in fields:
                    event: dict[str, Any] = json.loads(fields[b"data"])
                    assert event["position"] == int(fields[b"id"])
                    yield event

    async def take(self, number: int) -> list[dict[str, Any]]:
        """The next so many events."""
        taken: list[dict[str, Any]] = []
        if number:
            async for event in self.events():
                taken.append(event)
                if len(taken) == number:
                    break
        return taken


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
