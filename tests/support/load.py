"""A load of many connections that notes every answer: what a server acknowledged, it must never lose."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.support.http_connection import LOST, HttpConnection
from tests.support.server_process import ServerProcess

LIFE = ("RUNNING", "COMPLETED")
"""What follows PENDING, the state in which runs are created."""


@dataclass
class Acknowledged:
    """What the server said has happened, and what it was asked without an answer.

    `created` holds the run id of each idempotency key whose creation was answered, `entered` the run id and state id of
    each transition, the states that came with creations included; `unanswered` holds path and body of the other
    requests, by their idempotency key or transition id.
    """

    created: dict[str, str] = field(default_factory=dict)
    entered: list[tuple[str, str]] = field(default_factory=list)
    unanswered: dict[str, tuple[str, Any]] = field(default_factory=dict)


async def drive_runs(
    server: ServerProcess, flow_id: str, *, connections: int, until: Callable[[Acknowledged], bool]
) -> Acknowledged:
    """Create runs and lead them through their lives on all connections, until `until` says so after an answer.

    What is answered 503 is asked again until it is not. A connection that is lost stays away; `until` may be what ends
    the server.
    """
    known = Acknowledged()
    ended = asyncio.Event()

    async def drive() -> None:
        try:
            async with HttpConnection(server) as connection:
                while not ended.is_set():
                    await live_one_life(connection)
        except LOST:
            return

    async def live_one_life(connection: HttpConnection) -> None:
        key = str(uuid4())
        run = await ask(connection, key, "/flow_runs/", {"flow_id": flow_id, "idempotency_key": key})
        known.created[key] = run["id"]
        note(run["id"], run["state"]["id"])
        for type in LIFE:
            state = {"type": type, "state_details": {"transition_id": (transition_id := str(uuid4()))}}
            result = await ask(connection, transition_id, f"/flow_runs/{run['id']}/set_state", {"state": state})
            assert result["state"]["state_details"]["transition_id"] == transition_id, result
            note(run["id"], result["state"]["id"])

    async def ask(connection: HttpConnection, token: str, path: str, body: Any) -> Any:
        known.unanswered[token] = (path, body)
        status, answer = await connection.post(path, body)
        first = True
        while status == 503:
            first = False
            status, answer = await connection.post(path, body)
        # What is repeated may have happened the first time.
        assert status == 201 if first else status in (200, 201), answer
        del known.unanswered[token]
        return answer

    def note(run_id: str, state_id: str) -> None:
        known.entered.append((run_id, state_id))
        if not ended.is_set() and until(known):
            ended.set()

    await asyncio.gather(*(drive() for _ in range(connections)))
    return known
