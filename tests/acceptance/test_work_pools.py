"""Work pools over HTTP: what is refused, what job variables must be, and a run on its way to a worker."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from domain.ids import new_id

NOBODY = UUID(int=7)
TEMPLATE = {
    "job_configuration": {"command": "{{ command }}"},
    "variables": {
        "type": "object",
        "required": ["image"],
        "properties": {
            "command": {"type": "string", "default": None},
            "image": {"type": "string"},
            "cpus": {"type": "integer", "default": 1},
            "secret": {"type": "string", "default": {"$ref": {"block_document_id": str(new_id())}}},
        },
    },
}


@pytest.fixture
def pool(client: httpx.Client) -> str:
    name = f"pool-{new_id().hex}"
    body = {"name": name, "type": "process", "base_job_template": TEMPLATE}
    assert client.post("work_pools/", json=body).status_code == 201
    return name


@pytest.fixture
def flow(client: httpx.Client) -> str:
    id: str = client.post("flows/", json={"name": f"flow-{new_id()}"}).json()["id"]
    return id


def deploy(client: httpx.Client, flow: str, **body: Any) -> httpx.Response:
    return client.post("deployments/", json={"name": "d", "flow_id": flow, "enforce_parameter_schema": False, **body})


def test_a_run_of_a_deployment_is_handed_to_a_worker_of_its_pool(client: httpx.Client, pool: str, flow: str) -> None:
    variables = {"image": "i"}
    deployment = deploy(client, flow, work_pool_name=pool, work_queue_name="fast", job_variables=variables).json()
    assert (deployment["work_pool_name"], deployment["work_queue_name"]) == (pool, "fast")
    assert deployment["status"] == "NOT_READY"
    run = client.post(f"deployments/{deployment['id']}/create_flow_run", json={}).json()
    assert (run["work_pool_name"], run["work_queue_id"]) == (pool, deployment["work_queue_id"])
    asked = {"work_queue_names": ["fast"]}
    (handed,) = client.post(f"work_pools/{pool}/get_scheduled_flow_runs", json=asked).json()
    assert (handed["flow_run"]["id"], handed["work_queue_id"]) == (run["id"], run["work_queue_id"])
    assert client.get(f"deployments/{deployment['id']}").json()["status"] == "READY"
    assert [one["name"] for one in client.get(f"deployments/{deployment['id']}/work_queue_check").json()] == ["fast"]
    nowhere = client.post(f"work_pools/{pool}/get_scheduled_flow_runs", json={"work_queue_names": ["slow"]})
    assert (nowhere.status_code, nowhere.json()) == (404, {"detail": f"Work pool queue '{pool}/slow' not found."})
    assert client.delete(f"work_pools/{pool}").status_code == 204
    kept = client.get(f"flow_runs/{run['id']}").json()
    assert (kept["work_queue_name"], kept["work_queue_id"], kept["work_pool_name"]) == ("fast", None, None)


@pytest.mark.parametrize(
    ("variables", "of_run", "status"),
    [
        ({"cpus": "many"}, None, 422),
        ({"cpus": 2, "command": None}, {"image": "i"}, 201),
        ({}, {"image": 5}, 422),
        ({"image": "i"}, {"cpus": "many"}, 422),
    ],
)
def test_job_variables_fit_the_template_of_their_pool(
    client: httpx.Client, pool: str, flow: str, variables: dict[str, Any], of_run: dict[str, Any] | None, status: int
) -> None:
    made = deploy(client, flow, work_pool_name=pool, job_variables=variables)
    if of_run is None:
        assert made.status_code == status
        assert made.json()["detail"].startswith("Error creating deployment: Validation failed for field 'cpus'.")
        return
    run = client.post(f"deployments/{made.json()['id']}/create_flow_run", json={"job_variables": of_run})
    assert run.status_code == status, run.text
    if status == 422:
        assert run.json()["detail"].startswith("Error creating flow run: Validation failed for field")


def test_required_job_variables_must_be_there_when_a_run_is_made(client: httpx.Client, pool: str, flow: str) -> None:
    properties = {"image": {"type": "string"}}
    template = {"variables": {"type": "object", "required": ["image"], "properties": properties}}
    assert client.patch(f"work_pools/{pool}", json={"base_job_template": template}).status_code == 204
    id = deploy(client, flow, work_pool_name=pool).json()["id"]
    assert client.post(f"deployments/{id}/create_flow_run", json={}).status_code == 422
    assert client.patch(f"deployments/{id}", json={"job_variables": {"image": 1}}).status_code == 422
    assert client.patch(f"deployments/{id}", json={"job_variables": {"image": "i"}}).status_code == 204
    assert client.post(f"deployments/{id}/create_flow_run", json={}).status_code == 201


def test_job_variables_of_a_run_change_while_it_waits_and_fit(client: httpx.Client, pool: str, flow: str) -> None:
    id = deploy(client, flow, work_pool_name=pool, job_variables={"image": "i"}).json()["id"]
    run = client.post(f"deployments/{id}/create_flow_run", json={}).json()["id"]
    assert client.patch(f"flow_runs/{run}", json={"job_variables": {"cpus": "many"}}).status_code == 422
    assert client.patch(f"flow_runs/{run}", json={"job_variables": {"cpus": 2}}).status_code == 204
    assert client.get(f"flow_runs/{run}").json()["job_variables"] == {"cpus": 2}
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "PENDING"}})
    late = client.patch(f"flow_runs/{run}", json={"job_variables": {"cpus": 3}})
    assert (late.status_code, late.json()) == (
        400,
        {"detail": "Job variables for a flow run in state PENDING cannot be updated"},
    )
    plain = client.post("flow_runs/", json={"flow_id": flow, "state": {"type": "SCHEDULED"}}).json()["id"]
    assert client.patch(f"flow_runs/{plain}", json={"job_variables": {}}).status_code == 400
    assert client.patch(f"flow_runs/{plain}", json={"name": "n"}).status_code == 204


def test_the_addresses_of_2_7_lead_to_the_same_pools(client: httpx.Client, pool: str) -> None:
    assert client.get(f"experimental/work_pools/{pool}").json() == client.get(f"work_pools/{pool}").json()
    assert client.post(f"experimental/work_pools/{pool}/queues", json={"name": "q"}).status_code == 201
    assert client.get(f"work_pools/{pool}/queues/q").status_code == 200


def test_default_values_of_a_template_fit_it(client: httpx.Client, pool: str) -> None:
    wrong = {"variables": {"properties": {"n": {"type": "integer", "default": "x"}}}}
    body = {"name": f"pool-{new_id()}", "type": "process", "base_job_template": wrong}
    assert client.post("work_pools/", json=body).status_code == 422
    assert client.patch(f"work_pools/{pool}", json={"base_job_template": wrong}).status_code == 422
    assert client.get(f"work_pools/{pool}").json()["base_job_template"] == TEMPLATE


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("PATCH", "work_pools/prefect-x", {"description": "d"}, 403, None),
        ("DELETE", "work_pools/Prefect-x", None, 403, None),
        ("PATCH", "work_pools/nope", {"is_paused": True}, 404, 'Work pool "nope" not found.'),
        ("DELETE", "work_pools/nope", None, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/queues", {"name": "q"}, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/queues/filter", {}, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/get_scheduled_flow_runs", {}, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/concurrency_status", {}, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/workers/heartbeat", {"name": "w"}, 404, 'Work pool "nope" not found.'),
        ("POST", "work_pools/nope/workers/filter", {}, 404, 'Work pool "nope" not found.'),
        ("DELETE", "work_pools/nope/queues/q", None, 404, 'Work pool "nope" not found.'),
        ("GET", "work_pools/POOL/queues/q", None, 404, "Work pool queue 'POOL/q' not found."),
        ("PATCH", "work_pools/POOL/queues/q", {"is_paused": True}, 404, "Work pool queue 'POOL/q' not found."),
        ("DELETE", "work_pools/POOL/queues/default", None, 409, None),
        ("DELETE", "work_pools/POOL/workers/w", None, 404, "Worker not found."),
        ("POST", "work_pools/POOL/queues", {"name": "default"}, 409, None),
        ("POST", "work_pools/POOL/queues", {"name": "q", "priority": 0}, 422, None),
        ("POST", "work_pools/POOL/get_scheduled_flow_runs", {"limit": 100_000}, 422, None),
        ("POST", "work_pools/", {"name": "a/b", "type": "process"}, 422, None),
        ("POST", "work_pools/", {"name": "x", "concurrency_limit": -1}, 422, None),
        ("GET", f"work_queues/{NOBODY}/status", None, 404, None),
        ("POST", f"work_queues/{NOBODY}/get_runs", {}, 404, None),
        ("POST", f"work_queues/{NOBODY}/concurrency_status", {}, 404, None),
        ("GET", "work_queues/name/nope", None, 404, "work queue not found"),
        ("GET", f"deployments/{NOBODY}/work_queue_check", None, 404, "Deployment not found"),
        ("GET", "collections/views/nope", None, 404, "View nope not found in registry"),
    ],
)
def test_what_cannot_be_done_is_refused(
    client: httpx.Client, pool: str, method: str, path: str, body: Any, status: int, detail: str | None
) -> None:
    answer = client.request(method, path.replace("POOL", pool), json=body)
    assert answer.status_code == status, answer.text
    if detail is not None:
        assert answer.json() == {"detail": detail.replace("POOL", pool)}


def test_null_leaves_what_cannot_be_null_as_it_is(client: httpx.Client, pool: str) -> None:
    assert client.patch(f"work_pools/{pool}", json={"is_paused": True, "concurrency_limit": 2}).status_code == 204
    nulls = {"is_paused": None, "base_job_template": None, "concurrency_limit": None, "description": None}
    assert client.patch(f"work_pools/{pool}", json=nulls).status_code == 204
    now = client.get(f"work_pools/{pool}").json()
    assert (now["is_paused"], now["base_job_template"], now["concurrency_limit"]) == (True, TEMPLATE, None)
    assert client.post(f"work_pools/{pool}/queues", json={"name": "q", "description": None}).status_code == 201
    nulls = dict.fromkeys(("name", "description", "is_paused", "priority", "concurrency_limit"))
    assert client.patch(f"work_pools/{pool}/queues/q", json=nulls).status_code == 204
    assert client.get(f"work_pools/{pool}/queues/q").json()["priority"] == 2


def test_a_pool_of_a_known_type_can_be_made_from_what_is_known_of_it(client: httpx.Client) -> None:
    known = client.get("collections/views/aggregate-worker-metadata").json()
    template = known["prefect"]["process"]["default_base_job_configuration"]
    body = {"name": f"pool-{new_id()}", "type": "process", "base_job_template": template}
    assert client.post("work_pools/", json=body).status_code == 201
