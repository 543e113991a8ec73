"""Inputs of flow runs over HTTP: read as they were written, listed in that order, gone with their run."""

from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger
from tests.support.stored_events import count_events


@pytest.fixture
def run(client: httpx.Client) -> str:
    """The path of a new flow run."""
    flow = client.post("flows/", json={"name": "inputs"}).json()["id"]
    return f"flow_runs/{client.post('flow_runs/', json={'flow_id': flow}).json()['id']}"


def write(client: httpx.Client, run: str, *keys: str, **given: Any) -> None:
    for key in keys:
        assert client.post(f"{run}/input", json={"key": key, "value": key, **given}).status_code == 201


def keys_of(client: httpx.Client, run: str, **asked: Any) -> list[str]:
    answer = client.post(f"{run}/input/filter", json={"prefix": "", "limit": 50, **asked})
    assert answer.status_code == 200
    return [one["key"] for one in answer.json()]


@pytest.mark.parametrize(
    "value", ["", "{}", '{"a": "\u00e9"}', "no json \u2028 \U0001f600", "\\u0041", " \n", "x" * 100_000]
)
def test_a_value_is_read_to_the_letter(client: httpx.Client, run: str, value: str) -> None:
    write(client, run, "k", value=value, sender="prefect.flow-run.1")
    answer = client.get(f"{run}/input/k")
    assert (answer.status_code, answer.content) == (200, value.encode())
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    (listed,) = client.post(f"{run}/input/filter", json={"prefix": "k"}).json()
    assert (listed["value"], listed["sender"], listed["flow_run_id"]) == (value, "prefect.flow-run.1", run[10:])


def test_inputs_are_listed_by_the_beginning_of_their_keys_oldest_first(client: httpx.Client, run: str) -> None:
    write(client, run, "b-2", "a-1", "b-1", "c")
    assert keys_of(client, run) == ["b-2", "a-1", "b-1", "c"]
    assert keys_of(client, run, prefix="b-") == ["b-2", "b-1"]
    assert keys_of(client, run, prefix="b-", exclude_keys=["b-2", "none"]) == ["b-1"]
    assert keys_of(client, run, limit=2) == ["b-2", "a-1"]
    assert [keys_of(client, run, prefix=prefix) for prefix in ("%", "_", "b-2-")] == [[], [], []]
    assert len(client.post(f"{run}/input/filter", json={"prefix": ""}).json()) == 1
    assert keys_of(client, f"flow_runs/{uuid4()}") == []


@pytest.mark.parametrize("key", ["filter", "count", "1", "-", "k" * 5000])
def test_a_key_may_be_any_word_of_its_letters(client: httpx.Client, run: str, key: str) -> None:
    write(client, run, key)
    assert client.get(f"{run}/input/{key}").text == key


def test_a_key_is_taken_until_its_input_is_deleted(service: Service, client: httpx.Client, run: str) -> None:
    write(client, run, "a", "k", "z")
    before = count_events(service.conninfo)
    taken = client.post(f"{run}/input", json={"key": "k", "value": "other"})
    assert (taken.status_code, taken.json()) == (409, {"detail": "A flow run input with this key already exists."})
    assert count_events(service.conninfo) == before
    assert client.delete(f"{run}/input/k").status_code == 204
    assert [client.request(method, f"{run}/input/k").status_code for method in ("GET", "DELETE")] == [404, 404]
    assert keys_of(client, run) == ["a", "z"]
    write(client, run, "k", value="other")
    assert client.get(f"{run}/input/k").text == "other"
    assert keys_of(client, run) == ["a", "z", "k"]
    check_ledger(service.conninfo)


def test_inputs_go_with_their_run(service: Service, client: httpx.Client, run: str) -> None:
    write(client, run, "k", "l")
    assert client.delete(run).status_code == 204
    assert client.get(f"{run}/input/k").status_code == 404
    assert client.post(f"{run}/input", json={"key": "m", "value": ""}).json() == {"detail": "Flow run not found"}
    with psycopg.connect(service.conninfo) as connection:
        rows = connection.execute("SELECT 1 FROM read.flow_run_inputs WHERE flow_run_id = %s", [run[10:]]).fetchall()
    assert rows == []
    check_ledger(service.conninfo)


@pytest.mark.parametrize(("limit", "bound"), [(-1, "greater"), (201, "less")])
def test_a_limit_outside_of_a_page_is_refused(client: httpx.Client, run: str, limit: int, bound: str) -> None:
    answer = client.post(f"{run}/input/filter", json={"prefix": "", "limit": limit})
    assert answer.status_code == 422
    assert bound in answer.json()["detail"]


def test_an_empty_body_resumes_as_clients_2_7_do(client: httpx.Client, run: str) -> None:
    paused = {"type": "PAUSED", "state_details": {"pause_key": "1"}}
    assert client.post(f"{run}/set_state", json={"state": paused, "force": True}).status_code == 201
    assert [client.post(f"{run}/resume").status_code for _ in range(2)] == [201, 200]
