"""Asking what would become of a proposal tells what each rule says, and changes nothing."""

from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import Service
from tests.support.stored_events import count_events


@pytest.fixture
def run(client: httpx.Client) -> str:
    flow = client.post("flows/", json={"name": f"explained-{uuid4()}"}).json()["id"]
    id: str = client.post("flow_runs/", json={"flow_id": flow}).json()["id"]
    return id


def test_every_rule_says_something_and_nothing_happens(service: Service, client: httpx.Client, run: str) -> None:
    before = count_events(service.conninfo), client.get(f"flow_runs/{run}").json()["state"]
    answer = client.post(f"flow_runs/{run}/explain_state", json={"state": {"type": "PENDING"}})
    told = answer.json()
    assert (answer.status_code, told["status"], told["rule"]) == (200, "ABORT", "PreventPendingButForOwner")
    said = {rule["rule"]: rule["said"] for rule in told["rules"]}
    assert said["PreventPendingButForOwner"] == "ABORT"
    assert said["FinishCancelling"] == "SILENT"
    assert said["TakeDeploymentSlot"] == "SILENT"
    assert all(rule["states"].endswith(".") for rule in told["rules"])
    assert (count_events(service.conninfo), client.get(f"flow_runs/{run}").json()["state"]) == before
    real = client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "PENDING"}}).json()
    assert (real["status"], real["details"]) == (told["status"], told["details"])


def test_a_full_limit_is_explained_without_a_refusal_on_record(
    service: Service, client: httpx.Client, run: str
) -> None:
    tag, running = f"tag-{uuid4()}", {"state": {"type": "RUNNING"}}
    client.post("concurrency_limits/", json={"tag": tag, "concurrency_limit": 1})
    client.post(f"flow_runs/{run}/set_state", json=running)
    tasks = [
        client.post("task_runs/", json={"flow_run_id": run, "task_key": "k", "dynamic_key": key, "tags": [tag]}).json()[
            "id"
        ]
        for key in "ab"
    ]
    client.post(f"task_runs/{tasks[0]}/set_state", json=running)
    before = count_events(service.conninfo)
    told = client.post(f"task_runs/{tasks[1]}/explain_state", json=running).json()
    assert (told["status"], told["rule"]) == ("WAIT", "TakeTagSlotsTogether")
    assert told["details"]["delay_seconds"] >= 1
    after = [rule["said"] for rule in told["rules"]][-3:]
    assert after.count("NOT ASKED") == 2
    assert count_events(service.conninfo) == before


def test_the_policy_of_the_request_is_asked(client: httpx.Client, run: str) -> None:
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "FAILED"}})
    again = {"state": {"type": "RUNNING"}, "force": True}
    assert client.post(f"flow_runs/{run}/explain_state", json=again).json()["status"] == "ACCEPT"
    strict = client.post(f"flow_runs/{run}/explain_state", json=again, headers={"X-Flowledger-Dialect": "strict"})
    assert (strict.json()["policy"], strict.json()["rule"]) == ("strict", "ReopenForAReason")
