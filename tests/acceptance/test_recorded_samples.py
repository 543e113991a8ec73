"""Requests recorded from real clients are answered as the real server answered them: same status, same shape."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from api.embedded_postgres import EmbeddedPostgres
from tests.support.kept_things import make_kept_things
from tests.support.samples import Sample, differences, is_left_out, read_samples
from tests.support.server_process import serving

UNKNOWN = "5121a062-fecc-420f-9ec3-440761f290fb"
"""The id that stands for nothing in all recordings."""

LEFT_OUT = {
    ("POST_deployments", 6): "the real server fails at names that are not allowed",
    ("GET_flow_runs_id_graph", 2): "the real server fails at inputs that are no results",
    ("POST_work_pools_name_get_scheduled_flow_runs", 1): "the run was planned by a schedule, which it names",
    ("POST_flow_runs_id_resume", 3): "resuming a run that there is not is no error of the server here",
    **{("POST_v2_concurrency_limits_increment_with_lease", index): "there are no limits yet" for index in (1, 2, 3)},
}
SAMPLES = [sample for sample in read_samples() if sample.key not in LEFT_OUT]

BETTER_WORDS = {("GET_task_run_states_id", 0): {"detail": "Task run state not found"}}
"""Answers that the real server words wrongly."""

MORE_FIELDS = {
    *(("POST_deployments", index) for index in (0, 1)),
    ("GET_deployments_id", 0),
    ("GET_deployments_name_flow_name_deployment_name", 0),
    ("POST_deployments_filter", 0),
    ("POST_task_runs_paginate", 0),
    ("POST_deployments", 2),
    ("POST_deployments_filter", 1),
    ("POST_deployments_paginate", 0),
    ("POST_work_pools_name_get_scheduled_flow_runs", 0),
}
"""Answers for which whole things are given where the real server leaves out fields, some that only 2.x clients read."""

OTHER_TYPES = {"is_instance_of": "list_type"}
"""How an error is called here that the real server calls by another name."""

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
RETRYING = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": {"scheduled_time": TOMORROW}}
RUN_BEFORE: dict[tuple[str, int], dict[str, Any]] = {
    ("POST_flow_runs_id_set_state", 0): {"state": RETRYING},
    ("POST_flow_runs_id_set_state", 1): {"state": {"type": "RUNNING"}, "empirical_policy": {"pause_keys": ["1"]}},
    ("POST_flow_runs_id_set_state", 2): {"state": {"type": "CANCELLED"}},
    ("POST_flow_runs_id_set_state", 5): {"state": {"type": "RUNNING"}, "empirical_policy": {"retries": 1}},
    ("POST_flow_runs_id_set_state", 9): {"state": {"type": "SCHEDULED"}},
    ("POST_flow_runs_id_set_state", 10): {"state": {"type": "SCHEDULED"}},
    ("POST_flow_runs_id_set_state", 12): {"state": {"type": "CANCELLING"}},
    **{("POST_flow_runs_id_set_state", index): {"state": {"type": "RUNNING"}} for index in (4, 6, 7, 8, 11)},
    ("POST_flow_runs_id_resume", 2): {"state": {"type": "PAUSED"}},
}
"""What the flow run was like that a transition was recorded of; pending where nothing is said."""

INPUT_BEFORE: dict[tuple[str, int], dict[str, str]] = {
    ("POST_flow_runs_id_input", 2): {"key": "k1", "value": "1"},
    ("POST_flow_runs_id_input_filter", 0): {"key": "strautomaticruninput-auto-1", "value": '{"value":"hello"}'},
    ("GET_flow_runs_id_input_key", 0): {"key": "paused-1-response", "value": '{"n":5,"name":"y"}'},
}
"""The input that the flow run had."""

CREATIONS = ("/api/flows/", "/api/flow_runs/", "/api/task_runs/", "/api/deployments/")
KINDS = {
    **{kind: kind for kind in ("flows", "flow_runs", "task_runs", "deployments", "schedules", "work_queues")},
    **{"deployment_id": "deployments", "deployment_ids": "deployments"},
    **{"flow_id": "flows", "flow_run_id": "flow_runs", "task_run_id": "task_runs"},
    **{"artifacts": "artifacts", "block_documents": "block_documents"},
    **{"block_type_id": "block_types", "block_schema_id": "block_schemas"},
}
"""Of which kind the thing is whose id stands in a field, or in the path behind a word."""

BY_NAMES = "GET_deployments_name_flow_name_deployment_name"
World = dict[str, str]


@pytest.fixture(scope="module")
def client(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that may be emptied, for every sample has the ledger to itself."""
    folder: Path = tmp_path_factory.mktemp("samples")
    settings = {"allow_clear": True, "services_enabled": False}
    with serving(folder / "log", data_dir=folder / "data", **settings) as server, server.client() as client:
        yield client


def make_world(client: httpx.Client, sample: Sample) -> World:
    """Empty the ledger and make one thing of each kind, as the sample needs it; give their ids."""
    assert client.post("admin/database/clear", json={"confirm": True}).status_code == 204
    flow = client.post("flows/", json={"name": flow_name(sample)}).json()["id"]
    new_run = {"flow_id": flow, **RUN_BEFORE.get(sample.key, {})}
    run = client.post("flow_runs/", json=new_run).json()["id"]
    if sample.key in INPUT_BEFORE:
        assert client.post(f"flow_runs/{run}/input", json=INPUT_BEFORE[sample.key]).status_code == 201
    task = client.post("task_runs/", json={"flow_run_id": run, "task_key": "key", "dynamic_key": "0"}).json()["id"]
    now = datetime.now(UTC).isoformat()
    line = {"name": "n", "level": 20, "message": "m", "timestamp": now, "flow_run_id": run}
    assert client.post("logs/", json=[line]).status_code == 201
    schedules = [{"schedule": {"interval": 3600}, "active": False}]
    named = {"name": deployment_name(sample), "flow_id": flow, "schedules": schedules}
    deployment = client.post("deployments/", json=named).json()
    if sample.name == "POST_deployments_get_scheduled_flow_runs":
        long_ago = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2026-11-01T00:00:00Z"}}
        made = client.post(f"deployments/{deployment['id']}/create_flow_run", json={"state": long_ago})
        assert made.status_code == 201
    return {
        "flows": flow,
        "flow_runs": run,
        "task_runs": task,
        "deployments": deployment["id"],
        "schedules": deployment["schedules"][0]["id"],
        **make_kept_things(client, sample, run),
        "work_queues": make_work(client, sample, flow),
    }


def make_work(client: httpx.Client, sample: Sample, flow: str) -> str:
    """Make the work pool that a sample is about, a run that waits in it, and a queue, whose id is given."""
    before, last = sample.path.split("/")[-2:]
    taken = sample.body["name"] if sample.status == 409 and "/work_" in sample.path else None
    of_pool = re.match("/api/work_pools/([^/]+)", sample.path)
    wanted = sample.body.get("work_pool_name") if isinstance(sample.body, dict) and sample.status < 400 else None
    pool = of_pool[1] if of_pool and sample.status < 400 else wanted or taken or "pool"
    assert client.post("work_pools/", json={"name": pool, "type": "process"}).status_code == 201
    due = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2026-11-22T06:03:27Z"}}
    run = {"flow_id": flow, "state": due, "work_pool_name": pool}
    assert client.post("flow_runs/", json=run).status_code == 201
    if before == "queues" and last != "filter":
        assert client.post(f"work_pools/{pool}/queues", json={"name": last}).status_code == 201
    queue = last if before == "name" and "work_queues" in sample.path else taken or "queue"
    id: str = client.post("work_queues/", json={"name": queue}).json()["id"]
    return id


def flow_name(sample: Sample) -> str:
    """The name by which a sample asks for a flow that was there."""
    if sample.name == "GET_flows_name_name" and sample.status == 200:
        return sample.path.rpartition("/")[2]
    if sample.name == BY_NAMES and sample.status == 200:
        return sample.path.split("/")[-2]
    asked = sample.body.get("flows") if isinstance(sample.body, dict) else None
    names = ((asked or {}).get("name") or {}).get("any_")
    return names[0] if names else "sampled"


def deployment_name(sample: Sample) -> str:
    """The name by which a sample asks for a deployment that was there."""
    return sample.path.rpartition("/")[2] if sample.name == BY_NAMES and sample.status == 200 else "d"


def with_ids(value: Any, world: World, kind: str | None = None) -> Any:
    """A recorded value with the ids of things that are there, by the fields in which the recorded ids stand."""
    if isinstance(value, dict):
        return {name: with_ids(content, world, KINDS.get(name, kind)) for name, content in value.items()}
    if isinstance(value, list):
        return [with_ids(element, world, kind) for element in value]
    return world[kind] if kind is not None and is_id(value) and value != UNKNOWN else value


def is_id(value: Any) -> bool:
    try:
        return bool(str(UUID(value)) == value)
    except (TypeError, ValueError, AttributeError):
        return False


def path_of(sample: Sample, world: World) -> str:
    if sample.status == 404:
        return sample.path
    words = sample.path.split("/")
    if "checksum" in words:
        words[-1] = world["checksum"]
    return "/".join(with_ids(word, world, KINDS.get(before)) for before, word in zip(["", *words], words, strict=False))


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_recorded_request_is_answered_as_it_was(client: httpx.Client, sample: Sample) -> None:
    world = make_world(client, sample)
    body = with_ids(sample.body, world)
    is_no_json = isinstance(body, dict) and "__text__" in body
    content = body["__text__"] if is_no_json else json.dumps(body)
    request = client.build_request(
        sample.method,
        client.base_url.copy_with(path=path_of(sample, world)),
        params=with_ids(sample.query, world),
        headers={**sample.headers, "Content-Type": "application/json"},
        content=None if body is None else content,
    )
    if sample.path in CREATIONS and sample.status == 200:
        assert client.send(request).status_code == 201
    answer = client.send(request)
    assert answer.status_code == sample.status, answer.text
    if sample.answer is None:
        assert answer.content in (b"", b"null")
    elif sample.status == 422 and "exception_detail" in sample.answer:
        check_validation_error(sample.answer, answer.json(), content if is_no_json else body)
    elif sample.status >= 400:
        assert answer.json() == BETTER_WORDS.get(sample.key, sample.answer)
    else:
        wrong = differences(sample.answer, answer.json())
        assert [what for what in wrong if " has " not in what or sample.key not in MORE_FIELDS] == []
        check_verdict(sample.answer, answer.json())


def check_validation_error(recorded: Any, answered: Any, sent: Any) -> None:
    """Each thing that is wrong is named by the same type and at the same place; the wording is free."""
    assert answered.keys() == recorded.keys()
    assert answered["exception_message"] == recorded["exception_message"]
    assert answered["request_body"] == sent
    for detail, expected in zip(answered["exception_detail"], recorded["exception_detail"], strict=False):
        if is_left_out(expected):
            continue
        assert detail.keys() >= {"type", "loc", "msg", "input"}
        assert detail["type"] == OTHER_TYPES.get(expected["type"], expected["type"])
        known = [place for place in expected["loc"] if not is_left_out(place)]
        assert detail["loc"][: len(known)] == known or expected["type"] == "json_invalid"


def check_verdict(recorded: Any, answered: Any) -> None:
    """A proposal gets the same verdict, for the same reason, and leads to the same state."""
    if not (isinstance(recorded, dict) and "details" in recorded):
        return
    assert answered["status"] == recorded["status"]
    reason = recorded["details"].get("reason")
    assert answered["details"].get("reason") == reason
    if recorded["state"] is None:
        assert answered["state"] is None
        return
    assert (answered["state"]["type"], answered["state"]["name"]) == (
        recorded["state"]["type"],
        recorded["state"]["name"],
    )
