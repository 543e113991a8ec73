"""A limit on a tag holds over threads and server processes: never too many at once, nobody starved, no slot lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.server_process import serving

LIMIT, TASK_RUNS, THREADS = 3, 200, 8
HEADERS = {"User-Agent": "prefect/2.20.25 (API 0.8.4)", "X-PREFECT-API-VERSION": "0.8.4"}


@pytest.fixture
def two_servers(conninfo: str, tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of two server processes on one database."""
    with (
        serving(tmp_path / "one.log", database_url=make_conninfo(conninfo)) as one,
        serving(tmp_path / "two.log", database_url=make_conninfo(conninfo)) as two,
        one.client() as first,
        two.client() as second,
    ):
        yield [str(first.base_url), str(second.base_url)]


def test_200_task_runs_of_8_threads_never_run_more_than_3_at_once(two_servers: list[str], conninfo: str) -> None:
    with httpx.Client(base_url=two_servers[0], headers=HEADERS) as client:
        limit = client.post("concurrency_limits/", json={"tag": "few", "concurrency_limit": LIMIT}).json()["id"]
        flow = client.post("flows/", json={"name": "many"}).json()["id"]
        flow_run = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
        client.post(f"flow_runs/{flow_run}/set_state", json={"state": {"type": "RUNNING"}})
        body = {"flow_run_id": flow_run, "task_key": "t", "tags": ["few"]}
        ids = [client.post("task_runs/", json={**body, "dynamic_key": str(n)}).json()["id"] for n in range(TASK_RUNS)]

        threads = [
            threading.Thread(target=_complete, args=(two_servers[number % 2], ids[number::THREADS]))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        assert client.post("task_runs/count", json=completed).json() == TASK_RUNS
        assert client.get(f"concurrency_limits/{limit}/holders").json() == []
        assert client.get("concurrency_limits/tag/few").json()["active_slots"] == []
    running, holding = _most_at_once(conninfo, set(ids))
    assert 1 < running <= LIMIT
    assert 1 < holding <= LIMIT


def _complete(address: str, ids: list[str]) -> None:
    """Run these one after the other; whoever must wait asks again later, after the others had their turn."""
    with httpx.Client(base_url=address, headers=HEADERS, timeout=30) as client:
        waiting = list(ids)
        while waiting:
            id = waiting.pop(0)
            status = client.post(f"task_runs/{id}/set_state", json={"state": {"type": "RUNNING"}}).json()["status"]
            if status == "WAIT":
                waiting.append(id)
                continue
            assert status == "ACCEPT"
            done = client.post(f"task_runs/{id}/set_state", json={"state": {"type": "COMPLETED"}})
            assert done.json()["status"] == "ACCEPT"


def _most_at_once(conninfo: str, ids: set[str]) -> tuple[int, int]:
    """The most task runs that were running, and the most slots that were held, by the order of events."""
    running: set[str] = set()
    held: set[str] = set()
    most_running = most_held = 0
    with psycopg.connect(conninfo) as connection:
        events = connection.execute(
            "SELECT originator_id::text, topic, state::json FROM ledger.events ORDER BY position"
        ).fetchall()
    for id, topic, facts in events:
        if topic == "TaskRun.StateSet" and id in ids:
            (running.add if facts["state"]["type"] == "RUNNING" else running.discard)(id)
        elif topic == "ConcurrencyLimit.SlotsTaken":
            assert facts["holding"] not in held
            held.add(facts["holding"])
        elif topic == "ConcurrencyLimit.SlotsReleased":
            held.remove(facts["holding"])
        most_running, most_held = max(most_running, len(running)), max(most_held, len(held))
    assert not held
    return most_running, most_held
