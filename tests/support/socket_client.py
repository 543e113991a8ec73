"""A client of the websockets on which the server sends: it shakes hands as 3.x clients do, asks, and listens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.server_process import PATIENCE, ServerProcess

ALWAYS = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


def opening(server: ServerProcess, path: str) -> connect:
    """A connection that did not shake hands yet."""
    url = server.api.replace("http://", "ws://") + path
    return connect(url, user_agent_header="prefect/3.9.1 (API 0.8.4)", subprotocols=[Subprotocol("prefect")])


@asynccontextmanager
async def greeted(server: ServerProcess, path: str) -> AsyncIterator[ClientConnection]:
    """A connection that was greeted."""
    async with opening(server, path) as connection:
        await connection.send(json.dumps({"type": "auth", "token": None}))
        assert await told(connection) == {"type": "auth_success"}
        yield connection


@asynccontextmanager
async def asking(server: ServerProcess, path: str, **asked: Any) -> AsyncIterator[ClientConnection]:
    """A connection that was greeted and has said what it wants."""
    async with greeted(server, path) as connection:
        await connection.send(json.dumps(asked))
        yield connection


@asynccontextmanager
async def following_events(server: ServerProcess, **filter: Any) -> AsyncIterator[ClientConnection]:
    """A connection on which events arrive, by default all there ever were and will be."""
    wanted = {"occurred": ALWAYS, "order": "DESC", **filter}
    async with asking(server, "/events/out", type="filter", filter=wanted) as connection:
        yield connection


async def told(connection: ClientConnection) -> Any:
    """What the next frame says."""
    return json.loads(await asyncio.wait_for(connection.recv(), PATIENCE))


async def told_events(connection: ClientConnection, number: int) -> list[dict[str, Any]]:
    """The next events."""
    frames = [await told(connection) for _ in range(number)]
    assert {frame["type"] for frame in frames} <= {"event"}
    return [frame["event"] for frame in frames]
