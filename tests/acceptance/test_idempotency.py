"""A request that is sent again under its idempotency key has one effect and the very same answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.support.server_process import serving
from tests.support.stored_events import count_events


def once(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.fixture
def run(client: httpx.Client) -> str:
    flow = client.post("flows/", json={"name": f"once-{uuid4()}"}).json()["id"]
    id: str = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
    return id


@pytest.fixture
def other_server(service: Service, log: Path) -> Iterator[httpx.Client]:
    """A client of another server on the same database, which remembers nothing of what the first one did."""
    with serving(log, database_url=service.conninfo) as server, server.client() as client:
        yield client


def test_a_transition_happens_once_and_is_answered_alike(service: Service, client: httpx.Client, run: str) -> None:
    key, proposal = once(str(uuid4())), {"state": {"type": "RUNNING"}}
    first = client.post(f"flow_runs/{run}/set_state", json=proposal, headers=key)
    before = count_events(service.conninfo)
    second = client.post(f"flow_runs/{run}/set_state", json=proposal, headers=key)
    assert (first.status_code, first.json()["status"]) == (201, "ACCEPT")
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert count_events(service.conninfo) == before
    assert client.get(f"flow_runs/{run}").json()["run_count"] == 1


def test_a_creation_happens_once_and_is_answered_alike(client: httpx.Client) -> None:
    flow = client.post("flows/", json={"name": f"once-{uuid4()}"}).json()["id"]
    key = once(str(uuid4()))
    first, second = (client.post("flow_runs/", json={"flow_id": flow}, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert client.post("flow_runs/count", json={"flows": {"id": {"any_": [flow]}}}).json() == 1


def test_a_recorded_refusal_is_answered_alike_whatever_happened_since(client: httpx.Client, run: str) -> None:
    key, pending = once(str(uuid4())), {"state": {"type": "PENDING"}}
    first = client.post(f"flow_runs/{run}/set_state", json=pending, headers=key)
    assert first.json()["status"] == "ABORT"
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "FAILED"}})
    second = client.post(f"flow_runs/{run}/set_state", json=pending, headers=key)
    assert second.content == first.content
    assert client.post(f"flow_runs/{run}/set_state", json=pending).json()["status"] == "ACCEPT"


def test_a_refusal_that_was_only_counted_is_decided_anew(client: httpx.Client, run: str) -> None:
    key, pending = once(str(uuid4())), {"state": {"type": "PENDING"}}
    client.post(f"flow_runs/{run}/set_state", json=pending)
    assert client.post(f"flow_runs/{run}/set_state", json=pending, headers=key).json()["status"] == "ABORT"
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "FAILED"}})
    assert client.post(f"flow_runs/{run}/set_state", json=pending, headers=key).json()["status"] == "ACCEPT"


def test_a_key_is_not_taken_for_another_request(client: httpx.Client, run: str) -> None:
    key = once(str(uuid4()))
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}}, headers=key)
    other = client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}}, headers=key)
    assert other.status_code == 422
    assert "key" in other.json()["detail"]
    assert client.get(f"flow_runs/{run}").json()["state_type"] == "RUNNING"


def test_a_deletion_in_parts_happens_once(client: httpx.Client, run: str) -> None:
    client.post("task_runs/", json={"flow_run_id": run, "task_key": "k", "dynamic_key": "0"})
    key = once(str(uuid4()))
    assert [client.delete(f"flow_runs/{run}", headers=key).status_code for _ in range(2)] == [204, 204]
    assert client.delete(f"flow_runs/{run}").status_code == 404


def test_an_answer_outlives_the_server(client: httpx.Client, run: str, other_server: httpx.Client) -> None:
    key, proposal = once(str(uuid4())), {"state": {"type": "RUNNING", "data": {"x": [1.5, None, "é"]}}}
    first = client.post(f"flow_runs/{run}/set_state", json=proposal, headers=key)
    second = other_server.post(f"flow_runs/{run}/set_state", json=proposal, headers=key)
    assert (second.status_code, second.content) == (first.status_code, first.content)


def test_of_many_who_ask_at_once_all_get_one_answer(service: Service, client: httpx.Client, run: str) -> None:
    key, proposal = once(str(uuid4())), {"state": {"type": "RUNNING"}}

    def ask(_: Any) -> bytes:
        with httpx.Client(base_url=client.base_url) as other:
            return other.post(f"flow_runs/{run}/set_state", json=proposal, headers=key).content

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(24)))) == 1
    assert client.get(f"flow_runs/{run}").json()["run_count"] == 1
