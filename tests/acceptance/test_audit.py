"""What the event store can tell afterwards: who asked for what, on whose request, and what was refused and why."""

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import Service
from tests.support.stored_events import of_run, read_events

WHO = {
    "User-Agent": "inspector/1.0",
    "X-Request-Id": "request 7",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


@pytest.fixture(scope="module")
def flow_id(client: httpx.Client) -> str:
    return str(client.post("flows/", json={"name": "audited"}).json()["id"])


def test_every_event_says_who_asked_and_on_which_request(service: Service, client: httpx.Client, flow_id: str) -> None:
    id = client.post("flow_runs/", json={"flow_id": flow_id}, headers=WHO).json()["id"]
    client.post(f"flow_runs/{id}/set_state", json={"state": {"type": "RUNNING"}}, headers=WHO)
    client.patch(f"flow_runs/{id}", json={"name": "renamed"}, headers=WHO)
    client.patch(f"flow_runs/{id}/labels", json={"a": 1}, headers=WHO)
    client.delete(f"flow_runs/{id}", headers=WHO)
    history = of_run(read_events(service.conninfo), id)
    assert [event.topic for event in history] == [
        "FlowRun.Created",
        "FlowRun.StateSet",
        "FlowRun.StateSet",
        "FlowRun.Updated",
        "FlowRun.Labelled",
        "FlowRun.Deleted",
    ]
    for event in history:
        said = (event.facts["actor"], event.facts["request_id"], event.facts["traceparent"])
        assert said == tuple(WHO.values())
    times = [event.facts["recorded_at"] for event in history]
    assert times == sorted(times)


def test_a_refusal_is_kept_with_its_reason_and_its_repeats_are_counted(
    service: Service, client: httpx.Client, flow_id: str
) -> None:
    id = client.post("flow_runs/", json={"flow_id": flow_id, "state": {"type": "RUNNING"}}).json()["id"]
    for who in ("one", "one", "other", "one"):
        proposal = {"state": {"type": "PENDING", "message": "mine"}}
        answer = client.post(f"flow_runs/{id}/set_state", json=proposal, headers={"User-Agent": who})
        assert (answer.status_code, answer.json()["status"]) == (200, "ABORT")
    refusals = [event for event in of_run(read_events(service.conninfo), id) if "Refused" in event.topic]
    assert [refusal.facts["actor"] for refusal in refusals] == ["one", "other", "one"]
    for refusal in refusals:
        assert refusal.facts["proposed"]["message"] == "mine"
        assert refusal.facts["status"] == "ABORT"
        assert refusal.facts["reason"] == answer.json()["details"]["reason"]
    with psycopg.connect(service.conninfo) as connection:
        counted = connection.execute("SELECT times FROM telemetry.repeated_refusals WHERE originator_id = %s", [id])
        assert counted.fetchall() == [(1,)]


def test_what_was_deleted_is_gone_from_all_answers_and_stays_in_the_store(
    service: Service, client: httpx.Client, flow_id: str
) -> None:
    run = client.post("flow_runs/", json={"flow_id": flow_id, "state": {"type": "RUNNING"}}).json()["id"]
    new_task = {"flow_run_id": run, "task_key": "key", "dynamic_key": "0"}
    task = client.post("task_runs/", json=new_task).json()["id"]
    assert client.delete(f"flow_runs/{run}").status_code == 204
    assert client.get(f"flow_runs/{run}").status_code == client.get(f"task_runs/{task}").status_code == 404
    by_id = {"flow_runs": {"id": {"any_": [run]}}}
    assert (
        client.post("flow_runs/filter", json=by_id).json() == client.post("task_runs/filter", json=by_id).json() == []
    )
    assert client.get("task_run_states/", params={"task_run_id": task}).json() == []
    assert client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "RUNNING"}}).status_code == 404
    events = read_events(service.conninfo)
    assert of_run(events, run)[-1].topic == "FlowRun.Deleted"
    assert [event.topic for event in of_run(events, task)] == ["TaskRun.Created", "TaskRun.StateSet", "TaskRun.Deleted"]
