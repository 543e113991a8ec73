"""A server that dies under clients who report their task runs: whatever they had a pong for is there."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from api.embedded_postgres import EmbeddedPostgres
from tests.checks import check_ledger
from tests.support.event_client import Report, confirm, entered_by, reporting, reports_of_one_run, send
from tests.support.server_process import ServerProcess, postmaster_pid, serving
from tests.support.stored_events import read_events, times_entered

CLIENTS = 8
REPORTS_A_PING = 30
LOST = (ConnectionClosed, InvalidHandshake, OSError, EOFError)


@dataclass
class Reported:
    """What all clients have sent, in two lists: what an answered ping made safe, and the rest."""

    confirmed: list[Report] = field(default_factory=list)
    in_doubt: list[Report] = field(default_factory=list)


async def report_until(server: ServerProcess, flow_run_id: str, until: Callable[[Reported], bool]) -> Reported:
    """Report task runs on several connections, until `until` says so after a pong; it may be what ends the server."""
    known = Reported()
    ended = asyncio.Event()

    async def report() -> None:
        sent: list[Report] = []
        try:
            async with reporting(server) as connection:
                while not ended.is_set():
                    while len(sent) < REPORTS_A_PING:
                        for one in reports_of_one_run(flow_run_id):
                            sent.append(one)
                            await send(connection, one)
                    await confirm(connection)
                    known.confirmed += sent
                    sent.clear()
                    if not ended.is_set() and until(known):
                        ended.set()
        except LOST:
            known.in_doubt += sent

    await asyncio.gather(*(report() for _ in range(CLIENTS)))
    return known


async def report_again(server: ServerProcess, reports: list[Report]) -> None:
    """Do what a client does with reports it had no pong for: send them over a new connection."""
    async with reporting(server) as connection:
        for report in reports:
            await send(connection, report)
        await confirm(connection)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_reports_with_a_pong_survive_the_death_of_the_server_and_the_others_can_be_sent_again(
    seed: int, tmp_path: Path, log: Path
) -> None:
    moment = random.Random(seed).randrange(100, 2000)  # noqa: S311
    data_dir = tmp_path / "data"

    with serving(log, data_dir=data_dir) as server:
        flow_run_id = flow_run(server)

        def crash(known: Reported) -> bool:
            if len(known.confirmed) < moment:
                return False
            server.kill()
            os.kill(postmaster_pid(data_dir), signal.SIGKILL)
            return True

        known = asyncio.run(report_until(server, flow_run_id, crash))
        assert len(known.confirmed) >= moment

    with serving(log, data_dir=data_dir) as server:
        conninfo = EmbeddedPostgres(data_dir).conninfo
        entered = times_entered(read_events(conninfo))
        assert {entered[entered_by(report)] for report in known.confirmed} == {1}
        asyncio.run(report_again(server, known.in_doubt))
        entered = times_entered(read_events(conninfo))
        assert {entered[entered_by(report)] for report in (*known.confirmed, *known.in_doubt)} == {1}
        check_ledger(conninfo)


async def report_stubbornly(server: ServerProcess, reports: list[Report], interfere: Callable[[int], None]) -> None:
    """Do what a client does when its connection breaks: connect again and send what it had no pong for.

    `interfere` is told how many reports are confirmed, after each pong.
    """
    confirmed = 0
    while confirmed < len(reports):
        with contextlib.suppress(*LOST):
            async with reporting(server) as connection:
                while confirmed < len(reports):
                    part = reports[confirmed : confirmed + REPORTS_A_PING]
                    for report in part:
                        await send(connection, report)
                    await confirm(connection)
                    confirmed += len(part)
                    interfere(confirmed)


def test_reports_survive_a_database_that_dies_while_they_are_sent(tmp_path: Path, log: Path) -> None:
    data_dir = tmp_path / "data"
    deaths = [300, 600]

    def interfere(confirmed: int) -> None:
        if deaths and confirmed >= deaths[0]:
            deaths.pop(0)
            os.kill(postmaster_pid(data_dir), signal.SIGKILL)

    with serving(log, data_dir=data_dir) as server:
        flow_run_id = flow_run(server)
        reports = [report for _ in range(300) for report in reports_of_one_run(flow_run_id)]
        asyncio.run(report_stubbornly(server, reports, interfere))
        assert not deaths
        conninfo = EmbeddedPostgres(data_dir).conninfo
        entered = times_entered(read_events(conninfo))
        assert {entered[entered_by(report)] for report in reports} == {1}
        check_ledger(conninfo)


def flow_run(server: ServerProcess) -> str:
    with server.client() as client:
        flow_id = client.post("flows/", json={"name": "reported"}).json()["id"]
        return str(client.post("flow_runs/", json={"flow_id": flow_id}).json()["id"])
