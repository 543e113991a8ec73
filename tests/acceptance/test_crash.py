"""A machine that loses its power: what was acknowledged is there, once, and the ledger is whole."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.embedded_postgres import EmbeddedPostgres
from tests.checks import check_ledger
from tests.support.load import Acknowledged, drive_runs
from tests.support.server_process import ServerProcess, postmaster_pid, serving
from tests.support.stored_events import read_events, times_entered

CONNECTIONS = 64


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for all crashes: each finds what those before left behind."""
    yield tmp_path_factory.mktemp("crashes") / "data"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_the_death_of_the_server_and_of_its_database(
    seed: int, data_dir: Path, log: Path
) -> None:
    moment = random.Random(seed).randrange(100, 1000)  # noqa: S311

    with serving(log, data_dir=data_dir) as server:
        database = postmaster_pid(data_dir)

        def crash(known: Acknowledged) -> bool:
            if len(known.entered) < moment:
                return False
            server.kill()
            os.kill(database, signal.SIGKILL)
            return True

        flow_id = flow(server)
        known = asyncio.run(drive_runs(server, flow_id, connections=CONNECTIONS, until=crash))
        assert len(known.entered) >= moment

    with serving(log, data_dir=data_dir) as server:
        conninfo = EmbeddedPostgres(data_dir).conninfo
        events = read_events(conninfo)
        entered = times_entered(events)
        assert {entered[one] for one in known.entered} == {1}
        creations = {e.facts["idempotency_key"]: str(e.id) for e in events if e.topic == "FlowRun.Created"}
        assert creations.items() >= known.created.items()
        repeat_unanswered(server, known)
        check_effects(conninfo, known)
        check_ledger(conninfo)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_what_was_acknowledged_survives_a_database_that_dies_again_and_again_under_load(
    seed: int, tmp_path: Path, log: Path
) -> None:
    chance = random.Random(seed)  # noqa: S311
    deaths = sorted(chance.sample(range(100, 2000), 3))
    data_dir = tmp_path / "data"

    with serving(log, data_dir=data_dir) as server:

        def interfere(known: Acknowledged) -> bool:
            if deaths and len(known.entered) >= deaths[0]:
                deaths.pop(0)
                os.kill(postmaster_pid(data_dir), signal.SIGKILL)
            return len(known.entered) >= 2500

        known = asyncio.run(drive_runs(server, flow(server), connections=CONNECTIONS, until=interfere))
        assert not deaths
        assert not known.unanswered
        conninfo = EmbeddedPostgres(data_dir).conninfo
        entered = times_entered(read_events(conninfo))
        assert {entered[one] for one in known.entered} == {1}
        check_effects(conninfo, known)
        check_ledger(conninfo)


def flow(server: ServerProcess) -> str:
    with server.client() as client:
        return str(client.post("flows/", json={"name": "crashing"}).json()["id"])


def repeat_unanswered(server: ServerProcess, known: Acknowledged) -> None:
    """Do what a client does that got no answer: ask for the very same again."""
    with server.client() as client:
        for path, body in known.unanswered.values():
            answer = client.post(path, json=body)
            assert answer.status_code in (200, 201), answer.text


def check_effects(conninfo: str, known: Acknowledged) -> None:
    """Assert that all that was asked for has happened, and nothing of it twice."""
    happened = effects(conninfo)
    assert {happened[token] for token in (*known.created, *known.unanswered)} == {1}
    assert set(happened.values()) == {1}


def effects(conninfo: str) -> Counter[str]:
    """How many runs were created under each idempotency key, and how many states set under each transition id."""
    events = read_events(conninfo)
    keys = (event.facts["idempotency_key"] for event in events if event.topic == "FlowRun.Created")
    states = (event.facts["state"] for event in events if event.topic == "FlowRun.StateSet")
    transitions = (state["state_details"].get("transition_id") for state in states)
    return Counter([*keys, *(id for id in transitions if id is not None)])
