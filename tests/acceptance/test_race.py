"""Callers who race for one thing over two server processes: one gets it, the others are told so."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.checks import check_ledger
from tests.support.http_connection import HttpConnection
from tests.support.server_process import ServerProcess, serving
from tests.support.stored_events import of_run, read_events

CALLERS = 50
Answers = list[tuple[int, Any]]


@pytest.fixture
def two_servers(conninfo: str, log: Path) -> Iterator[list[ServerProcess]]:
    """Two server processes on one database, each on a port of its own."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(log, database_url=conninfo)) for _ in range(2)]


@asynccontextmanager
async def callers(servers: list[ServerProcess], count: int) -> AsyncIterator[list[HttpConnection]]:
    """Connections that are open already, half of them to each server; each caller has a name of its own."""
    async with AsyncExitStack() as stack:
        connections = (
            HttpConnection(servers[number % len(servers)], {"User-Agent": f"caller {number}"})
            for number in range(count)
        )
        yield [await stack.enter_async_context(connection) for connection in connections]


async def all_at_once(connections: list[HttpConnection], path: str, body: Any) -> Answers:
    """The answers to one request made on all connections at the same time."""
    return await asyncio.gather(*(connection.post(path, body) for connection in connections))


async def make_flow(connection: HttpConnection) -> str:
    _, flow = await connection.post("/flows/", {"name": uuid4().hex})
    return str(flow["id"])


def test_one_of_fifty_callers_gets_a_scheduled_run_two_hundred_times_over(
    two_servers: list[ServerProcess], conninfo: str
) -> None:
    async def go() -> list[str]:
        claimed: list[str] = []
        async with callers(two_servers, CALLERS) as connections:
            scheduled = {"flow_id": await make_flow(connections[0]), "state": {"type": "SCHEDULED"}}
            for _ in range(200):
                _, run = await connections[0].post("/flow_runs/", scheduled)
                path = f"/flow_runs/{run['id']}/set_state"
                answers = await all_at_once(connections, path, {"state": {"type": "PENDING"}})
                verdicts = Counter((status, answer["status"]) for status, answer in answers)
                assert verdicts == {(201, "ACCEPT"): 1, (200, "ABORT"): CALLERS - 1}
                assert {answer["state"]["type"] for _, answer in answers} == {"PENDING"}
                claimed.append(run["id"])
        return claimed

    claimed = asyncio.run(go())
    check_ledger(conninfo)
    events = read_events(conninfo)
    for id in claimed[:10]:
        topics = Counter(event.topic for event in of_run(events, id))
        # Two states: that of the creation and that of the one who got it. The others are refused by name.
        assert topics["FlowRun.StateSet"] == 2
        refused = {e.facts["actor"] for e in of_run(events, id) if e.topic == "FlowRun.TransitionRefused"}
        assert len(refused) == CALLERS - 1


def test_a_run_is_made_once_for_all_who_create_it_under_one_key_and_anew_after_its_deletion(
    two_servers: list[ServerProcess], conninfo: str
) -> None:
    async def go() -> None:
        async with callers(two_servers, CALLERS) as connections:
            flow_id = await make_flow(connections[0])
            for _ in range(20):
                keyed = {"flow_id": flow_id, "idempotency_key": "the one"}
                answers = await all_at_once(connections, "/flow_runs/", keyed)
                assert Counter(status for status, _ in answers) == {201: 1, 200: CALLERS - 1}
                (id,) = {run["id"] for _, run in answers}
                deleted = await asyncio.gather(
                    *(connection.request("DELETE", f"/flow_runs/{id}", b"") for connection in connections)
                )
                assert Counter(status for status, _ in deleted) == {204: 1, 404: CALLERS - 1}

    asyncio.run(go())
    check_ledger(conninfo)


@pytest.mark.parametrize("kind", ["flows", "task_runs"])
def test_what_has_a_name_of_its_own_is_made_once(two_servers: list[ServerProcess], conninfo: str, kind: str) -> None:
    async def go() -> None:
        async with callers(two_servers, CALLERS) as connections:
            _, run = await connections[0].post("/flow_runs/", {"flow_id": await make_flow(connections[0])})
            for _ in range(20):
                name = uuid4().hex
                named = {"flow_run_id": run["id"], "task_key": name, "dynamic_key": "0"}
                answers = await all_at_once(connections, f"/{kind}/", named if kind == "task_runs" else {"name": name})
                assert Counter(status for status, _ in answers) == {201: 1, 200: CALLERS - 1}
                assert len({made["id"] for _, made in answers}) == 1

    asyncio.run(go())
    check_ledger(conninfo)
