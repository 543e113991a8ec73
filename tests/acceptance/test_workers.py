"""Several worker processes behind one port."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import psycopg
import pytest

from api.embedded_postgres import EmbeddedPostgres
from tests.checks import check_ledger
from tests.support.http_connection import HttpConnection
from tests.support.server_process import ServerProcess, is_alive, postmaster_pid, processes_of, serving, wait_until
from tests.support.stored_events import of_run, read_events, state_names

WORKERS = 2
CONNECTIONS = 32
LEDGER_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flowledger-ledger'"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data_dir: Path, log: Path) -> Iterator[ServerProcess]:
    with serving(log, data_dir=data_dir, workers=WORKERS) as server:
        yield server


def test_runs_live_their_lives_through_all_workers_and_no_process_is_left_at_the_end(
    server: ServerProcess, data_dir: Path
) -> None:
    conninfo = EmbeddedPostgres(data_dir).conninfo
    runs = asyncio.run(live_through_many_connections(server))
    events = read_events(conninfo)
    assert all(state_names(of_run(events, run)) == ["Pending", "Running", "Completed"] for run in runs)
    check_ledger(conninfo)
    with psycopg.connect(conninfo) as connection:
        # A worker opens its session when it has decided its first command.
        assert connection.execute(LEDGER_SESSIONS).fetchone() == (WORKERS,)
    processes = {*processes_of(server.process.pid), postmaster_pid(data_dir)}
    assert len(processes) > WORKERS
    assert server.stop() == 0
    wait_until(lambda: not any(map(is_alive, processes)))


async def live_through_many_connections(server: ServerProcess) -> list[str]:
    """Lead runs through their lives, each request over another connection than the one before; give their ids.

    The system spreads connections over the workers, and a connection stays with its worker.
    """
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(HttpConnection(server)) for _ in range(CONNECTIONS)]
        take_turns = cycle(connections)
        _, flow = await next(take_turns).post("/flows/", {"name": "workers"})
        runs = []
        for _ in range(CONNECTIONS):
            status, run = await next(take_turns).post("/flow_runs/", {"flow_id": flow["id"]})
            assert status == 201
            for type in ("RUNNING", "COMPLETED"):
                path = f"/flow_runs/{run['id']}/set_state"
                status, result = await next(take_turns).post(path, {"state": {"type": type}})
                assert (status, result["status"]) == (201, "ACCEPT")
            status, document = await next(take_turns).request("GET", f"/flow_runs/{run['id']}", b"")
            assert (status, document["state_name"]) == (200, "Completed")
            runs.append(run["id"])
    return runs
