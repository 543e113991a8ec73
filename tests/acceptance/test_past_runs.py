"""Which flow runs were in which state at some time: lists, counts and pages as of then, over HTTP."""

from typing import Any

import httpx
import pytest

from tests.acceptance.test_looking_back import still


class World:
    """Two flows and a few runs, one of them deleted; `times` are from when on things were as they were."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.times: list[str] = []
        self.shown: list[dict[str, Any]] = []
        self.flow = client.post("flows/", json={"name": "past"}).json()["id"]
        self.other = client.post("flows/", json={"name": "past, too"}).json()["id"]
        deployment = client.post("deployments/", json={"name": "past", "flow_id": self.flow}).json()["id"]
        self.deployment = deployment
        self.first = self._make(tags=["a", "b"], deployment_id=deployment, state={"type": "RUNNING"})
        self._take_note()
        self.second = self._make(flow_id=self.other, tags=["b"])
        self._take_note()
        client.post(f"flow_runs/{self.first}/set_state", json={"state": {"type": "COMPLETED"}})
        client.patch(f"flow_runs/{self.second}", json={"tags": ["c"], "name": "renamed"})
        self._take_note()
        client.delete(f"flow_runs/{self.first}")
        client.post(f"flow_runs/{self.second}/set_state", json={"state": {"type": "RUNNING", "name": "Odd"}})
        self._take_note()

    def _make(self, **facts: Any) -> str:
        return str(self.client.post("flow_runs/", json={"flow_id": self.flow, **facts}).json()["id"])

    def _take_note(self) -> None:
        """The time of the newest event, and the runs as they are shown."""
        asked = {"flows": {"id": {"any_": [self.flow, self.other]}}}
        runs = self.client.post("flow_runs/filter", json=asked).json()
        self.shown.append({run["id"]: run for run in runs})
        events = self.client.get(f"flow_runs/{self.first}/events").json()["events"]
        if hasattr(self, "second"):
            events += self.client.get(f"flow_runs/{self.second}/events").json()["events"]
        self.times.append(max(event["recorded_at"] for event in events))

    def filters(self, **filters: Any) -> dict[str, Any]:
        return {"flows": {"id": {"any_": [self.flow, self.other]}}, **filters}

    def found(self, when: int, **filters: Any) -> set[str]:
        """The ids of the runs that fitted at one of the times; counted, and on a page, are as many."""
        body = {"as_of": self.times[when], **self.filters(**filters)}
        runs = self.client.post("flow_runs/filter", json=body).json()
        assert self.client.post("flow_runs/count", json=body).json() == len(runs)
        page = self.client.post("flow_runs/paginate", json=body).json()
        assert (page["results"], page["count"], page["page"]) == (runs, len(runs), 1)
        return {run["id"] for run in runs}


@pytest.fixture(scope="module")
def world(client: httpx.Client) -> World:
    return World(client)


def test_runs_are_listed_as_they_were_at_any_time_also_those_deleted_since(client: httpx.Client, world: World) -> None:
    for time, shown in zip(world.times, world.shown, strict=True):
        then = client.post("flow_runs/filter", json={"as_of": time, **world.filters()}).json()
        assert [run["id"] for run in then] == sorted(shown, reverse=True)
        for run in then:
            assert still(run) == still(shown[run["id"]])


def test_what_was_running_at_a_time_can_be_asked(world: World) -> None:
    running = {"state": {"type": {"any_": ["RUNNING"]}}}
    found = [world.found(when, flow_runs=running) for when in range(4)]
    assert found == [{world.first}, {world.first}, set(), {world.second}]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"flow_runs": {"state": {"name": {"any_": ["Completed"]}}}}, {"first"}),
        ({"flow_runs": {"state": {"type": {"not_any_": ["COMPLETED"]}}}}, {"second"}),
        ({"flow_runs": {"tags": {"all_": ["b"]}}}, {"first"}),
        ({"flow_runs": {"tags": {"any_": ["a", "c"]}}}, {"first", "second"}),
        (
            {"flow_runs": {"operator": "or_", "tags": {"all_": ["c"]}, "deployment_id": {"is_null_": False}}},
            {"first", "second"},
        ),
        ({"flow_runs": {"deployment_id": {"is_null_": True}}}, {"second"}),
        ({"deployments": {}}, {"first"}),
        ({"flows": {"name": {"any_": ["past, too"]}}}, {"second"}),
        ({"flows": {"name": {"like_": "PAST"}}}, {"first", "second"}),
    ],
)
def test_runs_are_found_by_what_they_were_then(world: World, asked: dict[str, Any], found: set[str]) -> None:
    assert world.found(2, **asked) == {getattr(world, name) for name in found}


def test_runs_are_found_by_the_ids_of_what_they_are_of(world: World) -> None:
    assert world.found(2, flow_runs={"id": {"any_": [world.first]}}) == {world.first}
    assert world.found(2, flow_runs={"deployment_id": {"any_": [world.deployment]}}) == {world.first}
    assert world.found(2, deployments={"id": {"any_": [world.deployment]}}) == {world.first}
    assert world.found(2, flows={"id": {"not_any_": [world.flow]}}) >= {world.second}
    assert world.found(3, flow_runs={"id": {"any_": [world.first]}}) == set()


def test_pages_of_the_past_are_cut_like_others(client: httpx.Client, world: World) -> None:
    body = {"as_of": world.times[2], **world.filters(), "limit": 1}
    newest, oldest = (client.post("flow_runs/filter", json={**body, "offset": n}).json() for n in (0, 1))
    assert [newest[0]["id"], oldest[0]["id"]] == sorted([world.first, world.second], reverse=True)
    page = client.post("flow_runs/paginate", json={**body, "page": 2}).json()
    assert (page["results"], page["pages"]) == (oldest, 2)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"flow_runs": {"name": {"any_": ["x"]}}}, "flow_runs.name"),
        ({"flow_runs": {"start_time": {"after_": "2026-01-01T00:00:00Z"}}}, "flow_runs.start_time"),
        ({"flows": {"tags": {"all_": ["x"]}}}, "flows.tags"),
        ({"deployments": {"name": {"any_": ["x"]}}}, "deployments.name"),
        ({"task_runs": {}}, "task_runs"),
        ({"work_pools": {}}, "work_pools"),
        ({"work_pool_queues": {}}, "work_pool_queues"),
        ({"sort": "START_TIME_DESC"}, "START_TIME_DESC"),
        ({"cursor": None}, "cursor"),
        ({"columns": ["id"]}, "fields"),
    ],
)
def test_what_is_not_known_of_the_past_is_named(client: httpx.Client, asked: dict[str, Any], named: str) -> None:
    answer = client.post("flow_runs/filter", json={"as_of": "2026-11-01T03:12:00Z", **asked})
    assert answer.status_code == 422
    assert named in answer.json()["detail"]
    if not {"sort", "cursor", "columns"} & asked.keys():
        assert client.post("flow_runs/count", json={"as_of": "2026-11-01T03:12:00Z", **asked}).status_code == 422


@pytest.mark.parametrize(
    "time", ["2026-11-01T03:12:00", "yesterday", "7", 7, "", True, [], "0001-01-01T00:00:00+10:00"]
)
@pytest.mark.parametrize("address", ["filter", "count", "paginate"])
def test_a_time_that_is_in_doubt_is_refused(client: httpx.Client, address: str, time: Any) -> None:
    answer = client.post(f"flow_runs/{address}", json={"as_of": time})
    assert answer.status_code == 422
    (detail,) = answer.json()["exception_detail"]
    assert detail["loc"] == ["body", "as_of"]
    assert "ISO 8601 time with a zone" in detail["msg"] or "UTC" in detail["msg"]


def test_no_time_means_now(client: httpx.Client, world: World) -> None:
    now = client.post("flow_runs/filter", json={"as_of": None, **world.filters()}).json()
    assert {run["id"] for run in now} == {world.second}
