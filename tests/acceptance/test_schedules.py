"""Schedules over HTTP: given in the words of every generation of clients, changed, paused; runners find the runs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.checks import check_ledger

HOURLY = {"interval": 3600}
DAILY = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}
WEEKLY = {"rrule": "FREQ=WEEKLY;BYDAY=MO"}


def make(client: httpx.Client, **body: Any) -> Any:
    flow = client.post("flows/", json={"name": f"flow-{uuid4()}"}).json()["id"]
    answer = client.post("deployments/", json={"name": "d", "flow_id": flow, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def read(client: httpx.Client, id: str) -> Any:
    return client.get(f"deployments/{id}").json()


def runs_of(client: httpx.Client, id: str) -> list[Any]:
    body = {"deployments": {"id": {"any_": [id]}}, "sort": "EXPECTED_START_TIME_ASC"}
    found: list[Any] = client.post("flow_runs/filter", json=body).json()
    return found


def test_the_runs_of_a_schedule_are_there_as_soon_as_it_is(client: httpx.Client) -> None:
    made = make(client, schedules=[{"schedule": {"interval": 20}, "slug": "often", "parameters": {"x": 1}}], tags=["t"])
    runs = runs_of(client, made["id"])
    assert len(runs) == 100
    (schedule,) = made["schedules"]
    assert schedule["schedule"]["interval"] == 20
    assert runs[0]["created_by"] == {"id": schedule["id"], "type": "SCHEDULE", "display_value": "often"}
    assert (runs[0]["auto_scheduled"], runs[0]["parameters"]) == (True, {"x": 1})
    assert set(runs[0]["tags"]) == {"t", "auto-scheduled"}
    first = datetime.fromisoformat(schedule["schedule"]["anchor_date"]) + timedelta(seconds=20)
    assert datetime.fromisoformat(runs[0]["expected_start_time"]) == first
    assert datetime.fromisoformat(runs[99]["expected_start_time"]) == first + timedelta(seconds=99 * 20)


def test_clients_of_2_x_give_one_schedule_and_find_it_where_they_look_for_it(client: httpx.Client) -> None:
    id = make(client, schedule=DAILY, is_schedule_active=False)["id"]
    assert runs_of(client, id) == []
    found = read(client, id)
    assert found["schedule"] == {**DAILY, "day_or": True} == found["schedules"][0]["schedule"]
    assert (found["is_schedule_active"], found["paused"]) == (False, True)
    assert client.post(f"deployments/{id}/set_schedule_active").status_code == 200
    assert len(runs_of(client, id)) == 3
    assert client.post(f"deployments/{id}/set_schedule_inactive").status_code == 200
    assert runs_of(client, id) == []
    client.patch(f"deployments/{id}", json={"schedule": WEEKLY, "is_schedule_active": True})
    assert read(client, id)["schedule"] == {**WEEKLY, "timezone": "UTC"}
    assert len(runs_of(client, id)) == 3
    client.patch(f"deployments/{id}", json={"schedule": None})
    assert (read(client, id)["schedules"], runs_of(client, id)) == ([], [])


def test_schedules_are_added_changed_and_removed(client: httpx.Client, service: Service) -> None:
    id = make(client)["id"]
    path = f"deployments/{id}/schedules"
    added = client.post(path, json=[{"schedule": DAILY, "slug": "a"}, {"schedule": WEEKLY, "active": False}])
    assert added.status_code == 201
    assert client.get(path).json() == added.json() == read(client, id)["schedules"]
    daily, weekly = (schedule["id"] for schedule in added.json())
    assert len(runs_of(client, id)) == 3
    assert client.patch(f"{path}/{weekly}", json={"active": True, "max_scheduled_runs": 1}).status_code == 204
    assert len(runs_of(client, id)) == 4
    assert client.patch(f"{path}/{weekly}", json={"slug": "a"}).status_code == 409
    assert client.post(path, json=[{"schedule": DAILY, "slug": "a"}]).status_code == 409
    assert client.delete(f"{path}/{daily}").status_code == 204
    assert [run["created_by"]["id"] for run in runs_of(client, id)] == [weekly]
    check_ledger(service.conninfo)


def test_a_request_that_comes_again_adds_no_schedule_and_is_answered_as_before(client: httpx.Client) -> None:
    id = make(client, schedules=[{"schedule": WEEKLY}])["id"]
    body = [{"schedule": HOURLY}, {"schedule": DAILY}]
    first, again = (
        client.post(f"deployments/{id}/schedules", json=body, headers={"Idempotency-Key": "once"}) for _ in range(2)
    )
    assert (first.status_code, first.json()) == (201, again.json())
    assert read(client, id)["schedules"][1:] == first.json()
    assert client.post(f"deployments/{id}/schedules", json=[]).json() == []


def test_what_there_is_not_is_not_found(client: httpx.Client) -> None:
    id, other = make(client)["id"], uuid4()
    no_deployment = {"detail": "Deployment not found."}
    assert client.get(f"deployments/{other}/schedules").json() == no_deployment
    assert client.post(f"deployments/{other}/schedules", json=[]).json() == no_deployment
    for method, body in (("PATCH", {}), ("DELETE", None)):
        answer = client.request(method, f"deployments/{id}/schedules/{other}", json=body)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Schedule not found."})
    assert client.post(f"deployments/{other}/resume_deployment").status_code == 404
    assert client.post(f"deployments/{other}/schedule", json={}).status_code == 404


def test_the_slugs_of_schedules_decide_what_a_change_is_about(client: httpx.Client) -> None:
    id = make(client, schedules=[{"schedule": DAILY, "slug": "a"}, {"schedule": WEEKLY, "slug": "b"}])["id"]
    renamed = [{"slug": "c", "replaces": "a", "schedule": HOURLY}, {"slug": "b", "active": False}]
    assert client.patch(f"deployments/{id}", json={"schedules": renamed}).status_code == 204
    first, second = read(client, id)["schedules"]
    assert (first["slug"], first["schedule"]["interval"], second["active"]) == ("c", 3600, False)
    for wrong in (
        [{"schedule": DAILY}],
        [{"slug": "new"}],
        [{"slug": "b", "replaces": "c", "schedule": DAILY}],
        [{"slug": "x", "replaces": "c"}, {"slug": "y", "replaces": "c"}],
    ):
        assert client.patch(f"deployments/{id}", json={"schedules": wrong}).status_code == 422
    assert read(client, id)["schedules"] == [first, second]


@pytest.mark.parametrize(
    "schedule",
    [
        {"interval": 0},
        {"interval": -1},
        {"interval": 1e300},
        {"cron": "61 * * * *"},
        {"cron": "0 0 * * *", "timezone": "Mars/Olympus"},
        {"rrule": "FREQ=OFTEN"},
        {"rrule": "FREQ=DAILY;INTERVAL=0"},
        {"rrule": "FREQ=DAILY;" + "X" * 6500},
        {"interval": 60, "cron": "* * * * *"},
        {},
        None,
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(client: httpx.Client, schedule: Any) -> None:
    id = make(client)["id"]
    answer = client.post(f"deployments/{id}/schedules", json=[{"schedule": schedule}])
    assert answer.status_code == 422
    assert answer.json()["exception_message"] == "Invalid request received."
    assert read(client, id)["schedules"] == []


def test_runs_of_times_past_are_planned_on_request(client: httpx.Client) -> None:
    id = make(client, schedules=[{"schedule": {**DAILY, "timezone": "UTC"}}], paused=True)["id"]
    body = {"start_time": "2024-02-27T00:00:00Z", "end_time": "2024-03-02T00:00:00Z", "min_runs": 10}
    for _ in range(2):
        assert client.post(f"deployments/{id}/schedule", json=body).status_code == 200
    days = [run["expected_start_time"] for run in runs_of(client, id)]
    assert days == [f"2024-{day}T09:00:00Z" for day in ("02-27", "02-28", "02-29", "03-01")]
    for extreme in ({"start_time": "9999-12-31T23:59:59Z"}, {"max_runs": -1}, {"min_runs": -5, "max_runs": 0}):
        assert client.post(f"deployments/{id}/schedule", json=extreme).status_code == 200
    assert len(runs_of(client, id)) == 4


def test_a_runner_finds_the_runs_that_are_due_and_its_deployment_is_ready(client: httpx.Client) -> None:
    made, other = (make(client, schedules=[{"schedule": {"interval": 60}}]) for _ in range(2))
    assert (made["status"], made["last_polled"]) == ("NOT_READY", None)
    before = str(datetime.now(UTC) + timedelta(minutes=3))
    asked = {"deployment_ids": [made["id"], str(uuid4())], "scheduled_before": before, "limit": 2}
    found = client.post("deployments/get_scheduled_flow_runs", json=asked).json()
    assert [run["id"] for run in found] == [run["id"] for run in runs_of(client, made["id"])[:2]]
    polled = read(client, made["id"])
    assert (polled["status"], polled["last_polled"] is None) == ("READY", False)
    assert read(client, other["id"])["status"] == "NOT_READY"
    assert client.post("deployments/get_scheduled_flow_runs", json={}).status_code == 422


def test_several_runs_are_made_and_several_deployments_deleted_at_a_time(client: httpx.Client) -> None:
    made = make(client, enforce_parameter_schema=True, parameter_openapi_schema={"required": ["x"]})
    path = f"deployments/{made['id']}/create_flow_run/bulk"
    answer = client.post(path, json=[{"parameters": {"x": 1}}, {}])
    good, bad = answer.json()["results"]
    assert (answer.status_code, good["status"], bad["status"]) == (200, "CREATED", "FAILED")
    assert client.get(f"flow_runs/{good['flow_run_id']}").json()["parameters"] == {"x": 1}
    assert "'x'" in bad["error"]
    assert client.post(path, json=[{}] * 101).status_code == 400
    assert client.post(f"deployments/{uuid4()}/create_flow_run/bulk", json=[]).status_code == 404
    body = {"deployments": {"id": {"any_": [made["id"], str(uuid4())]}}}
    assert client.post("deployments/bulk_delete", json=body).json() == {"deleted": [made["id"]]}
    assert client.get(f"deployments/{made['id']}").status_code == 404
