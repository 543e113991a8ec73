"""A service whose database is gone: it says so within seconds, stays up, and goes on by itself when it is back."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from api.embedded_postgres import EmbeddedPostgres, embedded_postgres
from tests.checks import check_ledger
from tests.support.event_client import confirm, entered_by, reporting, reports_of_one_run, send
from tests.support.server_process import ServerProcess, postmaster_pid, serving, signal_postgres, wait_until
from tests.support.stored_events import read_events, times_entered

SECONDS = 10.0
"""Within which a caller must have an answer, whatever it is."""

TRY_AGAIN_LATER = 1013
"""The code with which a websocket is closed that may be opened again later."""

Request = tuple[str, str, Any]


@dataclass(frozen=True)
class Outage:
    """One way for a database to be gone, and the way back."""

    begin: Callable[[EmbeddedPostgres], None]
    end: Callable[[EmbeddedPostgres], object]


KILLED = pytest.param(
    Outage(
        lambda postgres: os.kill(postmaster_pid(postgres.data_dir), signal.SIGKILL),
        lambda postgres: wait_until(postgres.restart_if_gone),
    ),
    id="killed",
)
FROZEN = pytest.param(
    Outage(
        lambda postgres: signal_postgres(postgres.data_dir, signal.SIGSTOP),
        lambda postgres: signal_postgres(postgres.data_dir, signal.SIGCONT),
    ),
    id="frozen",
    marks=pytest.mark.slow,
)


@pytest.fixture
def postgres_of_its_own(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL for this test alone, which the server does not look after."""
    with embedded_postgres(tmp_path / "data") as postgres:
        yield postgres


@pytest.fixture
def server(postgres_of_its_own: EmbeddedPostgres, log: Path) -> Iterator[ServerProcess]:
    with serving(log, database_url=postgres_of_its_own.conninfo) as server:
        yield server


def acknowledged_run(server: ServerProcess) -> tuple[str, dict[str, Any]]:
    """A flow and one running run of it."""
    with server.client() as client:
        flow = client.post("flows/", json={"name": "outage"}).json()
        created = client.post("flow_runs/", json={"flow_id": flow["id"], "state": {"type": "RUNNING"}})
        assert created.status_code == 201
        return flow["id"], created.json()


def requests_of_all_kinds(flow_id: str, run_id: str) -> list[Request]:
    return [
        ("GET", f"flow_runs/{run_id}", None),
        ("GET", f"flows/{flow_id}", None),
        ("GET", "flows/name/outage", None),
        ("GET", "ready", None),
        ("GET", "ledger/head", None),
        ("GET", f"flow_run_states/?flow_run_id={run_id}", None),
        ("POST", "flow_runs/filter", {}),
        ("POST", "task_runs/count", {}),
        ("POST", "flows/paginate", {}),
        ("POST", "logs/filter", {}),
        ("POST", "logs/", [{"name": "n", "level": 20, "message": "m", "timestamp": "2026-01-01T00:00:00Z"}]),
        ("POST", "flows/", {"name": uuid4().hex}),
        ("POST", "flow_runs/", {"flow_id": flow_id}),
        ("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "COMPLETED"}}),
        ("PATCH", f"flow_runs/{run_id}", {"name": "renamed"}),
    ]


def answers_to(server: ServerProcess, requests: list[Request]) -> dict[tuple[str, str], httpx.Response]:
    """The answers to requests made at the same time. Raises `httpx.TimeoutException` if one takes too long."""

    def ask(request: Request) -> httpx.Response:
        method, path, body = request
        return httpx.request(method, f"{server.api}/{path}", json=body, timeout=SECONDS)

    with ThreadPoolExecutor(len(requests)) as pool:
        answers = pool.map(ask, requests)
        return {(method, path): answer for (method, path, _), answer in zip(requests, answers, strict=True)}


@pytest.mark.parametrize("outage", [KILLED, FROZEN])
def test_the_service_answers_503_stays_up_and_resumes_by_itself(
    postgres_of_its_own: EmbeddedPostgres, server: ServerProcess, outage: Outage
) -> None:
    flow_id, run = acknowledged_run(server)
    outage.begin(postgres_of_its_own)
    try:
        # The second time round all connections have been found dead.
        for _ in range(2):
            whatever_happens: list[Request] = [("GET", "health", None), ("GET", "metrics", None)]
            answers = answers_to(server, [*requests_of_all_kinds(flow_id, run["id"]), *whatever_happens])
            assert answers.pop(("GET", "health")).status_code == 200
            assert "flowledger_database_up 0.0" in answers.pop(("GET", "metrics")).text
            assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 503)
            assert {answer.text for answer in answers.values()} == {'{"exception_message":"Service Unavailable"}'}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers.values())
    finally:
        outage.end(postgres_of_its_own)
    with server.client() as client:
        wait_until(lambda: client.get("ready").status_code == 200)
        wait_until(lambda: client.post("flow_runs/", json={"flow_id": flow_id}).status_code == 201)
        assert client.get(f"flow_runs/{run['id']}").json()["id"] == run["id"]
    assert server.process.poll() is None
    assert times_entered(read_events(postgres_of_its_own.conninfo))[run["id"], run["state"]["id"]] == 1
    check_ledger(postgres_of_its_own.conninfo)


@pytest.mark.parametrize("outage", [KILLED, FROZEN])
def test_a_client_that_reports_is_told_to_come_back_and_can(
    postgres_of_its_own: EmbeddedPostgres, server: ServerProcess, outage: Outage
) -> None:
    _, run = acknowledged_run(server)
    reports = reports_of_one_run(run["id"])

    async def report_in_vain() -> int | None:
        async with reporting(server) as connection:
            for report in reports:
                await send(connection, report)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(confirm(connection), SECONDS)
            return connection.close_code

    async def report_again() -> None:
        async with reporting(server) as connection:
            for report in reports:
                await send(connection, report)
            await confirm(connection)

    outage.begin(postgres_of_its_own)
    try:
        assert asyncio.run(report_in_vain()) == TRY_AGAIN_LATER
    finally:
        outage.end(postgres_of_its_own)
    with server.client() as client:
        wait_until(lambda: client.patch(f"flow_runs/{run['id']}", json={"name": "back"}).status_code == 204)
    asyncio.run(report_again())
    entered = times_entered(read_events(postgres_of_its_own.conninfo))
    assert {entered[entered_by(report)] for report in reports} == {1}
    check_ledger(postgres_of_its_own.conninfo)


def test_a_server_starts_its_embedded_database_again_and_keeps_what_it_acknowledged(tmp_path: Path, log: Path) -> None:
    data_dir = tmp_path / "data"
    with serving(log, data_dir=data_dir) as server:
        _, run = acknowledged_run(server)
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        path = f"{server.api}/flow_runs/{run['id']}"
        wait_until(lambda: httpx.patch(path, json={"name": "renamed"}, timeout=SECONDS).status_code == 204)
        assert httpx.get(path, timeout=SECONDS).json()["name"] == "renamed"
        check_ledger(EmbeddedPostgres(data_dir).conninfo)
