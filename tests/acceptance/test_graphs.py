"""The graph of a flow run: what depends on what, in both shapes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

Nodes = dict[str, Any]
PAST = "2020-01-01T00:00:00Z"


@pytest.fixture
def run(client: httpx.Client) -> str:
    flow = client.post("flows/", json={"name": "outer"}).json()["id"]
    body = {"flow_id": flow, "name": "run", "state": {"type": "RUNNING"}}
    return str(client.post("flow_runs/", json=body).json()["id"])


def task(client: httpx.Client, run: str, name: str, state: str = "RUNNING", **inputs: list[dict[str, str]]) -> str:
    key = {"task_key": name, "dynamic_key": str(uuid4())}
    body = {"flow_run_id": run, "name": name, **key, "task_inputs": inputs, "state": {"type": state}}
    answer = client.post("task_runs/", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def result(id: str, kind: str = "task_run") -> dict[str, str]:
    return {"input_type": kind, "id": id}


def graph(client: httpx.Client, run: str, **query: str) -> Any:
    answer = client.get(f"flow_runs/{run}/graph-v2", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(edges: list[dict[str, str]]) -> list[str]:
    return [edge["id"] for edge in edges]


def test_nodes_know_their_parents_and_children(client: httpx.Client, run: str) -> None:
    first, second = task(client, run, "first"), task(client, run, "second")
    both = task(client, run, "both", x=[result(second), result(first)], y=[result(first)])
    inside = task(client, run, "inside", "COMPLETED", __parents__=[result(both)])
    drawn = graph(client, run)
    nodes: Nodes = dict(drawn["nodes"])
    assert [id for id, _ in drawn["nodes"]] == [first, second, both, inside]
    assert drawn["root_node_ids"] == [first, second, inside]
    assert (ids(nodes[both]["parents"]), ids(nodes[first]["children"])) == ([first, second], [both])
    assert (ids(nodes[inside]["encapsulating"]), nodes[inside]["parents"]) == ([both], [])
    assert {field: nodes[inside][field] for field in ("kind", "id", "label", "state_type", "artifacts")} == {
        "kind": "task-run",
        "id": inside,
        "label": "inside",
        "state_type": "COMPLETED",
        "artifacts": [],
    }
    assert (nodes[inside]["end_time"] is None, nodes[both]["end_time"] is None) == (False, True)


def test_a_subflow_stands_in_the_place_of_its_task_run(client: httpx.Client, run: str) -> None:
    placeholder = task(client, run, "placeholder")
    flow = client.post("flows/", json={"name": 'in"ner'}).json()["id"]
    body = {"flow_id": flow, "name": "child", "parent_task_run_id": placeholder, "state": {"type": "RUNNING"}}
    child = client.post("flow_runs/", json=body).json()["id"]
    by_task = task(client, run, "by task", x=[result(placeholder)])
    by_run = task(client, run, "by run", x=[result(child, "flow_run")])
    nodes: Nodes = dict(graph(client, run)["nodes"])
    assert (nodes[child]["kind"], nodes[child]["label"]) == ("flow-run", 'in"ner / child')
    assert ids(nodes[child]["children"]) == [by_task, by_run]
    assert ids(nodes[by_task]["parents"]) == ids(nodes[by_run]["parents"]) == [child]
    assert placeholder not in nodes


def test_inputs_from_elsewhere_are_no_edges(client: httpx.Client, run: str) -> None:
    constant = {"input_type": "constant", "type": "int"}
    alone = task(client, run, "alone", x=[result(str(uuid4())), constant], y=[{"input_type": "parameter", "name": "p"}])
    drawn = graph(client, run)
    assert drawn["root_node_ids"] == [alone]
    assert drawn["nodes"][0][1]["parents"] == []


def test_the_graph_tells_the_times_and_the_states_of_the_run(client: httpx.Client, run: str) -> None:
    client.post(f"flow_runs/{run}/set_state", json={"state": {"type": "COMPLETED"}})
    read = client.get(f"flow_runs/{run}").json()
    drawn = graph(client, run)
    assert (drawn["start_time"], drawn["end_time"]) == (read["start_time"], read["end_time"])
    assert [(state["type"], state["name"]) for state in drawn["states"]] == [
        ("RUNNING", "Running"),
        ("COMPLETED", "Completed"),
    ]
    assert drawn["states"][-1]["id"] == read["state_id"]


def test_since_leaves_out_what_had_ended_by_then(client: httpx.Client, run: str) -> None:
    ended, running = task(client, run, "ended", "COMPLETED"), task(client, run, "running")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert [id for id, _ in graph(client, run, since=PAST)["nodes"]] == [ended, running]
    assert [id for id, _ in graph(client, run, since=later)["nodes"]] == [running]
    unescaped = client.get(f"flow_runs/{run}/graph-v2?since={later}")
    assert [id for id, _ in unescaped.json()["nodes"]] == [running]
    assert client.get(f"flow_runs/{run}/graph-v2", params={"since": "soon"}).status_code == 422


def test_the_dependency_map_names_what_each_task_run_depends_on(client: httpx.Client, run: str) -> None:
    first = task(client, run, 'fir"st')
    parameter = {"input_type": "parameter", "name": "p"}
    second = task(client, run, "second", "COMPLETED", x=[result(first), parameter], y=[result(first)])
    told = client.get(f"flow_runs/{run}/graph").json()
    read = client.get(f"task_runs/{second}").json()
    assert [(node["id"], node["name"], node["upstream_dependencies"]) for node in told] == [
        (first, 'fir"st', []),
        (second, "second", [result(first)]),
    ]
    same = ("state", "expected_start_time", "start_time", "end_time", "total_run_time", "estimated_run_time")
    assert {field: told[1][field] for field in same} == {field: read[field] for field in same}
    assert told[1]["untrackable_result"] is False


def test_the_dependency_map_tells_which_results_cannot_be_tracked(client: httpx.Client, run: str) -> None:
    ids = [task(client, run, name) for name in ("tracked", "untracked", "only in its data")]
    words = {"untrackable_result": True}
    for id, state in zip(ids, ({}, {"state_details": words}, {"data": words, "message": str(words)}), strict=True):
        answer = client.post(f"task_runs/{id}/set_state", json={"state": {"type": "COMPLETED", **state}})
        assert answer.json()["status"] == "ACCEPT"
    told = client.get(f"flow_runs/{run}/graph").json()
    assert [node["untrackable_result"] for node in told] == [False, True, False]


def test_artifacts_stand_with_what_put_them_up(client: httpx.Client, run: str) -> None:
    id = task(client, run, "with artifacts")
    client.post(f"task_runs/{id}/set_state", json={"state": {"type": "RUNNING"}})
    kinds = [("flow", None, "markdown"), ("task", id, "table"), ("task", id, "progress"), ("flow", None, "result")]
    for key, task_run, kind in kinds:
        body = {"key": key, "type": kind, "data": {"d": 1}, "flow_run_id": run, "task_run_id": task_run}
        assert client.post("artifacts/", json=body).status_code == 201
    graph = client.get(f"flow_runs/{run}/graph-v2").json()
    (node,) = (node for node_id, node in graph["nodes"] if node_id == id)
    seen = [(found["key"], found["type"], found["is_latest"], found["data"]) for found in node["artifacts"]]
    assert seen == [("task", "table", False, None), ("task", "progress", True, {"d": 1})]
    assert [found["type"] for found in graph["artifacts"]] == ["markdown"]


@pytest.mark.parametrize(("path", "words"), [("graph", "with id {} not found"), ("graph-v2", "{} not found")])
def test_there_is_no_graph_of_an_unknown_run(client: httpx.Client, path: str, words: str) -> None:
    unknown = str(uuid4())
    answer = client.get(f"flow_runs/{unknown}/{path}")
    assert (answer.status_code, answer.json()) == (404, {"exception_message": "Flow run " + words.format(unknown)})
