"""What happened to a thing and what it was like: read from its events, also after it was deleted."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from tests.acceptance.conftest import Service
from tests.support.stored_events import of_run, read_events

NOBODY = "5121a062-fecc-420f-9ec3-440761f290fb"
WHO = {
    "User-Agent": "inspector/1.0",
    "X-Request-Id": "request 7",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
MOVING = ("estimated_run_time", "estimated_start_time_delta")


@pytest.fixture(scope="module")
def flow_id(client: httpx.Client) -> str:
    return str(client.post("flows/", json={"name": "looked back at"}).json()["id"])


def propose(client: httpx.Client, id: str, state: dict[str, Any], **options: Any) -> Any:
    return client.post(f"flow_runs/{id}/set_state", json={"state": state, **options}, headers=WHO).json()


def make(client: httpx.Client, flow_id: str, **facts: Any) -> str:
    return str(client.post("flow_runs/", json={"flow_id": flow_id, **facts}, headers=WHO).json()["id"])


def events_of(client: httpx.Client, path: str, **page: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{path}/events", params=page)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["events"])


def test_the_events_of_a_run_say_what_was_asked_by_whom_and_what_came_of_it(
    client: httpx.Client, service: Service, flow_id: str
) -> None:
    id = make(client, flow_id, empirical_policy={"retries": 1}, state={"type": "RUNNING"})
    propose(client, id, {"type": "PENDING"})
    propose(client, id, {"type": "PENDING"})
    propose(client, id, {"type": "FAILED", "message": "oh"})
    propose(client, id, {"type": "COMPLETED"}, force=True)
    client.patch(f"flow_runs/{id}", json={"name": "renamed"}, headers=WHO)
    client.delete(f"flow_runs/{id}", headers=WHO)

    events = events_of(client, f"flow_runs/{id}")

    stored = of_run(read_events(service.conninfo), id)
    assert [event["topic"] for event in events] == [event.topic for event in stored]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert [event["facts"] for event in events] == [event.facts for event in stored]
    with psycopg.connect(service.conninfo) as connection:
        positions = connection.execute("SELECT position FROM ledger.events WHERE originator_id = %s ORDER BY 1", [id])
        assert [event["position"] for event in events] == [position for (position,) in positions]
    for event in events:
        assert (event["actor"], event["request_id"], event["traceparent"]) == tuple(WHO.values())
    created, made, refused, replaced, forced, renamed, deleted = (event["transition"] for event in events)
    assert created is renamed is deleted is None
    assert [event["deleted"] for event in events] == [False] * 6 + [True]
    assert (made["origin"], made["verdict"], made["state_before"], made["state"]["type"]) == (
        "created",
        None,
        None,
        "RUNNING",
    )
    assert (refused["verdict"], refused["rule"], refused["state"]) == ("ABORT", "PreventPendingButForOwner", None)
    assert refused["state_before"] == {"type": "RUNNING", "name": "Running"}
    assert refused["proposed_state"]["type"] == "PENDING"
    assert refused["reason"].startswith("This run is in a RUNNING state")
    assert (refused["repeats"], refused["force"], refused["dialect"]) == (1, False, "prefect-3")
    assert refused["last_repeated_at"] >= events[2]["recorded_at"]
    assert (replaced["verdict"], replaced["rule"], replaced["reason"]) == ("REJECT", "RetryFailedFlowRuns", "Retrying")
    assert (replaced["proposed_state"]["message"], replaced["state"]["name"]) == ("oh", "AwaitingRetry")
    assert (forced["verdict"], forced["force"], forced["state"]["name"]) == ("ACCEPT", True, "Completed")


def test_a_delay_and_a_refusal_by_force_are_told(client: httpx.Client, flow_id: str) -> None:
    later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"}}
    waiting = make(client, flow_id, state=later)
    propose(client, waiting, {"type": "RUNNING"})
    told = events_of(client, f"flow_runs/{waiting}")[-1]["transition"]
    assert (told["verdict"], told["rule"]) == ("WAIT", "WaitForScheduledTime")
    assert told["delay_seconds"] > 3600
    kept = make(client, flow_id, state={"type": "COMPLETED", "data": {"type": "reference"}})
    propose(client, kept, {"type": "COMPLETED"}, force=True)
    told = events_of(client, f"flow_runs/{kept}")[-1]["transition"]
    assert (told["verdict"], told["rule"], told["force"]) == ("REJECT", "KeepPersistedResult", True)


def test_a_refusal_by_force_is_not_a_repeat_of_one_without(client: httpx.Client, flow_id: str) -> None:
    id = make(client, flow_id, state={"type": "COMPLETED"})
    strict = {**WHO, "X-Flowledger-Dialect": "strict"}
    for force in (False, False, True, True, False):
        proposal = {"state": {"type": "RUNNING"}, "force": force}
        client.post(f"flow_runs/{id}/set_state", json=proposal, headers=strict)
    told = [event["transition"] for event in events_of(client, f"flow_runs/{id}")[2:]]
    assert [(one["rule"], one["force"], one["repeats"]) for one in told] == [
        ("ReopenForAReason", False, 1),
        ("ReopenForAReason", True, 1),
        ("ReopenForAReason", False, 0),
    ]


def test_the_events_of_task_runs_flows_and_deployments_are_told(client: httpx.Client, flow_id: str) -> None:
    run = make(client, flow_id, state={"type": "RUNNING"})
    new_task = {"flow_run_id": run, "task_key": "key", "dynamic_key": "0"}
    task = client.post("task_runs/", json=new_task).json()["id"]
    client.post(f"task_runs/{task}/set_state", json={"state": {"type": "RUNNING"}})
    told = events_of(client, f"task_runs/{task}")
    assert [event["topic"] for event in told] == ["TaskRun.Created", "TaskRun.StateSet", "TaskRun.StateSet"]
    assert told[-1]["transition"]["state_before"] == {"type": "PENDING", "name": "Pending"}
    deployment = client.post("deployments/", json={"name": "told", "flow_id": flow_id}).json()["id"]
    assert [event["topic"] for event in events_of(client, f"deployments/{deployment}")] == ["Deployment.Created"]
    told = events_of(client, f"flows/{flow_id}")
    assert (told[0]["facts"]["name"], told[0]["transition"]) == ("looked back at", None)


def test_a_subflow_is_mirrored_without_a_verdict(client: httpx.Client, flow_id: str) -> None:
    run = make(client, flow_id, state={"type": "RUNNING"})
    new_task = {"flow_run_id": run, "task_key": "key", "dynamic_key": "0"}
    task = client.post("task_runs/", json=new_task).json()["id"]
    child = make(client, flow_id, parent_task_run_id=task, state={"type": "RUNNING"})
    told = events_of(client, f"task_runs/{task}")[-1]
    assert (told["transition"]["origin"], told["transition"]["verdict"]) == ("mirrored", None)
    assert told["facts"]["mirrored_from"] == child


def test_pages_of_events_go_on_where_the_one_before_ended(client: httpx.Client, flow_id: str) -> None:
    id = make(client, flow_id, state={"type": "RUNNING"})
    for name in "abcde":
        client.patch(f"flow_runs/{id}", json={"name": name})
    propose(client, id, {"type": "COMPLETED"})
    whole = events_of(client, f"flow_runs/{id}")
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = client.get(f"flow_runs/{id}/events", params={"limit": 3, "after": after}).json()
        found += page["events"]
        after = page["next_after"]
    assert found == whole
    assert len(whole) == 8
    assert client.get(f"flow_runs/{id}/events", params={"after": 8}).json()["events"] == []
    assert client.get(f"flow_runs/{id}/events", params={"limit": 8}).json()["next_after"] is None


@pytest.mark.parametrize(
    "page", [{"limit": "-1"}, {"limit": "x"}, {"after": "1.5"}, {"after": "9" * 12}, {"after": ""}]
)
def test_a_page_that_is_none_is_refused(client: httpx.Client, flow_id: str, page: dict[str, str]) -> None:
    answer = client.get(f"flows/{flow_id}/events", params=page)
    assert answer.status_code == 422
    assert answer.json()["exception_detail"][0]["loc"] == ["query", next(iter(page))]


def test_a_page_is_no_longer_than_any_other(client: httpx.Client, flow_id: str) -> None:
    answer = client.get(f"flows/{flow_id}/events", params={"limit": 201})
    assert (answer.status_code, answer.json()) == (422, {"detail": "Invalid limit: must be less than or equal to 200."})


@pytest.mark.parametrize(
    ("kind", "name"), [("task_runs", "Task"), ("deployments", "Deployment"), ("flow_runs", "Flow run")]
)
def test_what_is_of_another_kind_or_unknown_has_no_events_and_no_past(
    client: httpx.Client, flow_id: str, kind: str, name: str
) -> None:
    for id in (flow_id, NOBODY):
        for path in (f"{kind}/{id}/events", f"{kind}/{id}?as_of=1"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()) == (404, {"detail": f"{name} not found"})


def test_a_run_is_shown_as_of_every_version_and_time(client: httpx.Client, flow_id: str) -> None:
    id = make(client, flow_id, tags=["a"])
    shown = [client.get(f"flow_runs/{id}").json()]
    for change in ({"type": "RUNNING"}, {"name": "renamed", "tags": ["b"]}, {"type": "COMPLETED"}):
        if "type" in change:
            propose(client, id, change)
        else:
            client.patch(f"flow_runs/{id}", json=change)
        shown.append(client.get(f"flow_runs/{id}").json())
    client.delete(f"flow_runs/{id}")
    events = events_of(client, f"flow_runs/{id}")
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5, 6]
    for event, then in zip(events[1:5], shown, strict=True):
        for moment in (event["version"], event["recorded_at"], event["recorded_at"].replace("Z", "+00:00")):
            answer = client.get(f"flow_runs/{id}", params={"as_of": moment})
            assert answer.status_code == 200, answer.text
            assert still(answer.json()) == still(then)
    before = client.get(f"flow_runs/{id}?as_of=1").json()
    assert (before["state"], before["tags"], before["run_count"]) == (None, ["a"], 0)
    gone = {"detail": "Flow run not found"}
    for moment in ("0", "6", "7", "99999999999999", "2000-01-01T00:00:00Z", "2999-01-01T00:00:00+01:00"):
        answer = client.get(f"flow_runs/{id}", params={"as_of": moment})
        assert (answer.status_code, answer.json()) == (404, gone), moment


def still(document: dict[str, Any]) -> dict[str, Any]:
    """A document without what moves with the clock."""
    return {field: value for field, value in document.items() if field not in MOVING}


def test_estimates_are_as_they_were_at_the_time(client: httpx.Client, flow_id: str) -> None:
    id = make(client, flow_id, state={"type": "RUNNING"})
    at = client.get(f"flow_runs/{id}").json()["state"]["timestamp"]
    an_hour_later = (datetime.fromisoformat(at) + timedelta(hours=1)).isoformat()
    then = client.get(f"flow_runs/{id}", params={"as_of": an_hour_later}).json()
    assert then["estimated_run_time"] == 3600.0


def test_what_a_query_string_makes_of_an_offset_is_understood(client: httpx.Client, flow_id: str) -> None:
    answer = client.get(f"flows/{flow_id}?as_of=2999-01-01T00:00:00+01:00")
    assert answer.status_code == 200


def test_other_kinds_are_shown_as_they_were(client: httpx.Client, flow_id: str) -> None:
    run = make(client, flow_id, state={"type": "RUNNING"})
    new_task = {"flow_run_id": run, "task_key": "key", "dynamic_key": "0"}
    task = client.post("task_runs/", json=new_task).json()
    client.patch(f"task_runs/{task['id']}", json={"name": "renamed"})
    then = client.get(f"task_runs/{task['id']}", params={"as_of": "2"}).json()
    assert still(then) == still(task)
    deployment = client.post("deployments/", json={"name": "changed", "flow_id": flow_id, "tags": ["a"]}).json()
    client.patch(f"deployments/{deployment['id']}", json={"tags": ["b"], "concurrency_limit": 2})
    then = client.get(f"deployments/{deployment['id']}", params={"as_of": "1"}).json()
    limit = client.get(f"deployments/{deployment['id']}").json()["global_concurrency_limit"]
    assert then == {**deployment, "global_concurrency_limit": limit}
    client.patch(f"flows/{flow_id}", json={"tags": ["t"]})
    assert client.get(f"flows/{flow_id}").json()["tags"] == ["t"]
    assert client.get(f"flows/{flow_id}", params={"as_of": "1"}).json()["tags"] == []


@pytest.mark.parametrize(
    "moment",
    ["", "now", "-1", "1.5", "2026-11-01", "2026-11-01T12:00:00", "2026-11-01 12:00", "0001-01-01T00:00:00+14:00"],
)
def test_a_moment_that_is_in_doubt_is_refused(client: httpx.Client, flow_id: str, moment: str) -> None:
    answer = client.get(f"flows/{flow_id}", params={"as_of": moment})
    assert answer.status_code == 422
    (detail,) = answer.json()["exception_detail"]
    assert (detail["loc"], detail["input"]) == (["query", "as_of"], moment)
    assert "ISO 8601 time with a zone" in detail["msg"]


def test_the_queue_of_a_run_is_called_as_it_is_today(client: httpx.Client, flow_id: str) -> None:
    client.post("work_pools/", json={"name": "looked-back", "type": "process"})
    id = make(client, flow_id, work_pool_name="looked-back")
    then = client.get(f"flow_runs/{id}", params={"as_of": "2"}).json()
    assert (then["work_pool_name"], then["work_queue_name"]) == ("looked-back", "default")


def test_events_of_old_versions_are_told_in_today_s_shape(client: httpx.Client, service: Service, flow_id: str) -> None:
    run = make(client, flow_id, state={"type": "RUNNING"})
    task = client.post("task_runs/", json={"flow_run_id": run, "task_key": "old", "dynamic_key": "0"}).json()["id"]
    with psycopg.connect(service.conninfo) as connection:
        row = connection.execute(
            "SELECT state FROM ledger.events WHERE originator_id = %s AND originator_version = 1", [task]
        ).fetchone()
        assert row is not None
        facts = json.loads(row[0])
        assert (facts.pop("class_version"), facts.pop("flow_id")) == (2, flow_id)
        old = json.dumps(facts)
        connection.execute(
            "UPDATE ledger.events SET state = %s WHERE originator_id = %s AND originator_version = 1", [old, task]
        )
    assert events_of(client, f"task_runs/{task}")[0]["facts"]["flow_id"] == flow_id
