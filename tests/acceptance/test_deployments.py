"""Deployments: made once for a flow and a name, changed, read, deleted; and runs made of them."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "name": {"type": "string", "default": "n"}},
    "required": ["x"],
}


@pytest.fixture
def flow(client: httpx.Client) -> Any:
    return client.post("flows/", json={"name": f"flow-{uuid4()}"}).json()


def make(client: httpx.Client, flow: Any, **body: Any) -> Any:
    answer = client.post("deployments/", json={"name": "d", "flow_id": flow["id"], **body})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def test_a_deployment_is_made_once_for_a_flow_and_a_name(client: httpx.Client, flow: Any) -> None:
    body = {"name": "d", "flow_id": flow["id"], "tags": ["t"], "parameters": {"x": 1}, "version": "1"}
    made = client.post("deployments/", json=body)
    again = client.post("deployments/", json={**body, "description": "again", "parameters": {"x": 2}})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["id"] == again.json()["id"]
    assert (again.json()["description"], again.json()["parameters"], again.json()["tags"]) == ("again", {"x": 2}, ["t"])
    assert made.json()["labels"] == {"prefect.flow.id": flow["id"]}
    assert client.get(f"deployments/{made.json()['id']}").json() == again.json()
    assert client.get(f"deployments/name/{flow['name']}/d").json() == again.json()


def test_what_a_deployment_refers_to_must_exist(client: httpx.Client, flow: Any) -> None:
    assert client.post("deployments/", json={"name": "d", "flow_id": str(uuid4())}).status_code == 409
    pool = client.post("deployments/", json={"name": "d", "flow_id": flow["id"], "work_pool_name": "nope"})
    assert (pool.status_code, pool.json()) == (404, {"detail": 'Work pool "nope" not found.'})
    assert client.get(f"deployments/name/{flow['name']}/d").status_code == 404


def test_only_what_was_set_changes_and_a_deleted_deployment_is_gone(client: httpx.Client, flow: Any) -> None:
    id = make(client, flow, tags=["t"], description="d", enforce_parameter_schema=False)["id"]
    assert client.patch(f"deployments/{id}", json={"description": None, "paused": True}).status_code == 204
    now = client.get(f"deployments/{id}").json()
    assert (now["description"], now["paused"], now["tags"]) == (None, True, ["t"])
    assert client.delete(f"deployments/{id}").status_code == 204
    assert client.get(f"deployments/{id}").status_code == 404
    assert client.post("deployments/", json={"name": "d", "flow_id": flow["id"]}).status_code == 201


def test_a_run_of_a_deployment_takes_after_it(client: httpx.Client, flow: Any) -> None:
    deployment = make(
        client, flow, tags=["t"], parameters={"x": 1, "y": 2}, version="7", enforce_parameter_schema=False
    )
    body = {"parameters": {"y": 3}, "tags": ["u"], "idempotency_key": "k"}
    path = f"deployments/{deployment['id']}/create_flow_run"
    made, again = (client.post(path, json=body) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    run = made.json()
    assert again.json()["id"] == run["id"]
    assert (run["flow_id"], run["deployment_id"]) == (flow["id"], deployment["id"])
    assert (run["parameters"], run["tags"], run["deployment_version"]) == ({"x": 1, "y": 3}, ["t", "u"], "7")
    assert run["labels"] == {"prefect.flow.id": flow["id"], "prefect.deployment.id": deployment["id"]}
    assert (run["state_type"], run["next_scheduled_start_time"]) == ("SCHEDULED", run["expected_start_time"])
    of_it = {"flow_runs": {"deployment_id": {"any_": [deployment["id"]]}}}
    assert [one["id"] for one in client.post("flow_runs/filter", json=of_it).json()] == [run["id"]]
    client.delete(f"deployments/{deployment['id']}")
    assert client.get(f"flow_runs/{run['id']}").json()["deployment_id"] == deployment["id"]


@pytest.mark.parametrize(
    ("parameters", "status", "word"), [({"x": 1}, 201, ""), ({}, 409, "'x'"), ({"x": "one"}, 409, "integer")]
)
def test_parameters_must_fit_the_schema_where_it_is_enforced(
    client: httpx.Client, flow: Any, parameters: dict[str, Any], status: int, word: str
) -> None:
    id = make(client, flow, parameter_openapi_schema=SCHEMA, enforce_parameter_schema=True)["id"]
    path = f"deployments/{id}/create_flow_run"
    answer = client.post(path, json={"parameters": parameters})
    assert answer.status_code == status
    assert word in answer.text
    unchecked = client.post(path, json={"parameters": parameters, "enforce_parameter_schema": False})
    assert unchecked.status_code == 201


def test_a_deployment_shows_its_limit(client: httpx.Client, flow: Any) -> None:
    deployment = make(client, flow, concurrency_limit=2)
    limit = deployment["global_concurrency_limit"]
    assert (limit["limit"], limit["name"]) == (2, f"deployment:{deployment['id']}")
    run = client.post(f"deployments/{deployment['id']}/create_flow_run", json={"enforce_parameter_schema": False})
    answer = client.post(f"flow_runs/{run.json()['id']}/set_state", json={"state": {"type": "PENDING"}})
    assert answer.json()["status"] == "ACCEPT"
    (holder,) = client.get(f"concurrency_limits/{limit['id']}/holders").json()
    assert holder["holder"] == {"type": "flow_run", "id": run.json()["id"]}
    assert holder["holding"] == answer.json()["state"]["state_details"]["deployment_concurrency_lease_id"]
    client.patch(f"deployments/{deployment['id']}", json={"concurrency_limit": None})
    assert client.get(f"deployments/{deployment['id']}").json()["global_concurrency_limit"] is None
