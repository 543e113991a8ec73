"""What pages ask for beside lists: dots, counts for many things at once, activity."""

from typing import Any
from uuid import uuid4

import httpx
import pytest


@pytest.fixture
def flow(client: httpx.Client) -> str:
    return str(client.post("flows/", json={"name": f"flow-{uuid4()}"}).json()["id"])


def flow_run(client: httpx.Client, flow: str, state: dict[str, Any], **body: Any) -> Any:
    answer = client.post("flow_runs/", json={"flow_id": flow, "state": state, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def task_run(client: httpx.Client, run: str, state: str) -> Any:
    body = {"flow_run_id": run, "task_key": "t", "dynamic_key": str(uuid4()), "state": {"type": state}}
    return client.post("task_runs/", json=body).json()


def due(time: str) -> dict[str, Any]:
    return {"type": "SCHEDULED", "state_details": {"scheduled_time": time}}


def test_runs_are_shown_as_dots_newest_first(client: httpx.Client, flow: str) -> None:
    early = flow_run(client, flow, due("2020-01-01T00:00:00Z"))
    late = flow_run(client, flow, {"type": "COMPLETED"})
    dots = client.post("ui/flow_runs/history", json={"flows": {"id": {"any_": [flow]}}}).json()
    assert [dot["id"] for dot in dots] == [late["id"], early["id"]]
    assert (dots[1]["state_type"], dots[1]["timestamp"], dots[1]["duration"]) == (
        "SCHEDULED",
        "2020-01-01T00:00:00Z",
        0,
    )
    assert dots[1]["lateness"] > 86_400 > dots[0]["lateness"]
    assert len(client.post("ui/flow_runs/history", json={"flows": {"id": {"any_": [flow]}}, "limit": 1}).json()) == 1
    assert client.post("ui/flow_runs/history", json={"limit": 1001}).status_code == 422


def test_task_runs_are_counted_for_each_flow_run_but_for_subflows(client: httpx.Client, flow: str) -> None:
    run, empty = (flow_run(client, flow, {"type": "RUNNING"})["id"] for _ in range(2))
    task_run(client, run, "RUNNING")
    placeholder = task_run(client, run, "RUNNING")["id"]
    flow_run(client, flow, {"type": "RUNNING"}, parent_task_run_id=placeholder)
    unknown = str(uuid4())
    counts = client.post("ui/flow_runs/count-task-runs", json={"flow_run_ids": [run, empty, unknown]}).json()
    assert counts == {run: 1, empty: 0, unknown: 0}
    assert client.post("ui/flow_runs/count-task-runs", json={"flow_run_ids": [unknown] * 201}).status_code == 422


def test_deployments_are_counted_and_the_next_run_told_for_each_flow(client: httpx.Client, flow: str) -> None:
    other = str(client.post("flows/", json={"name": f"flow-{uuid4()}"}).json()["id"])
    client.post("deployments/", json={"name": "d", "flow_id": flow})
    flow_run(client, flow, due("2031-01-01T00:00:00Z"))
    soon = flow_run(client, flow, due("2030-01-01T00:00:00Z"))
    assert client.post("ui/flows/count-deployments", json={"flow_ids": [flow, other]}).json() == {flow: 1, other: 0}
    next_runs = client.post("ui/flows/next-runs", json={"flow_ids": [flow, other]}).json()
    assert next_runs == {
        flow: {
            "id": soon["id"],
            "flow_id": flow,
            "name": soon["name"],
            "state_name": "Scheduled",
            "state_type": "SCHEDULED",
            "next_scheduled_start_time": "2030-01-01T00:00:00Z",
        },
        other: None,
    }


def test_task_runs_are_counted_by_state(client: httpx.Client, flow: str) -> None:
    run = flow_run(client, flow, {"type": "RUNNING"})["id"]
    before = client.post("ui/task_runs/count", json={}).json()
    for state in ("RUNNING", "RUNNING", "FAILED"):
        task_run(client, run, state)
    after = client.post("ui/task_runs/count", json={}).json()
    of_run = client.post("ui/task_runs/count", json={"flow_runs": {"id": {"any_": [run]}}}).json()
    assert {type: after[type] - before[type] for type in after} == of_run
    assert len(of_run) == 9
    assert (of_run["RUNNING"], of_run["FAILED"], of_run["COMPLETED"]) == (2, 1, 0)


def test_activity_tells_what_ended_by_when_it_began(client: httpx.Client, flow: str) -> None:
    run = flow_run(client, flow, {"type": "RUNNING"})["id"]
    began = task_run(client, run, "COMPLETED")["start_time"]
    for state in ("CRASHED", "CANCELLED", "RUNNING"):
        task_run(client, run, state)
    asked = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"start_time": {"after_": began}}}
    told = client.post("ui/task_runs/dashboard/counts", json=asked).json()
    assert len(told) == 20
    assert sum(part["completed"] for part in told) == 2
    assert sum(part["failed"] for part in told) == 1
    refused = client.post("ui/task_runs/dashboard/counts", json={"task_runs": {}})
    assert (refused.status_code, refused.json()) == (422, {"detail": "task_runs.start_time.after_ is required"})


def test_a_task_run_is_read_with_the_name_of_its_flow_run(client: httpx.Client, flow: str) -> None:
    run = flow_run(client, flow, {"type": "RUNNING"}, name="outer")["id"]
    task = task_run(client, run, "COMPLETED")["id"]
    read = client.get(f"ui/task_runs/{task}").json()
    assert read == {**client.get(f"task_runs/{task}").json(), "flow_run_name": "outer"}
    assert client.get(f"ui/task_runs/{uuid4()}").status_code == 404


def test_many_flow_runs_are_given_a_state_or_deleted_at_once(client: httpx.Client, flow: str) -> None:
    runs = [flow_run(client, flow, {"type": type})["id"] for type in ("PENDING", "RUNNING", "COMPLETED")]
    meant = {"id": {"any_": runs}}
    cancel = {"flow_runs": meant, "state": {"type": "CANCELLING"}}
    results = client.post("flow_runs/bulk_set_state", json=cancel).json()["results"]
    assert [result["flow_run_id"] for result in results] == runs[::-1]
    single = client.post(f"flow_runs/{runs[2]}/set_state", json={"state": {"type": "CANCELLING"}}).json()
    assert (results[0]["status"], results[0]["details"]) == (single["status"], single["details"])
    assert results[1]["status"] == "ACCEPT"
    assert client.get(f"flow_runs/{runs[1]}").json()["state_type"] == "CANCELLING"
    gone = client.post("flow_runs/bulk_delete", json={"flow_runs": meant, "limit": 2}).json()
    assert gone == {"deleted": [runs[2], runs[1]]}
    assert [client.get(f"flow_runs/{run}").status_code for run in runs] == [200, 404, 404]
    assert client.post("flow_runs/bulk_delete", json={"limit": 51}).status_code == 422
