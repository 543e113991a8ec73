"""The filter language: each question a client may ask, against a small world whose answers are plain to see."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from api.embedded_postgres import EmbeddedPostgres
from domain.ids import new_id
from domain.task_run import ReportedCounters
from projections import queries
from projections.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from tests.projections.seeding import Books, at, copy_of, proposed, stateless_flow_run

EVERYONE = {"Early_Bird", "late-100%", "running", "child", "stateless"}
EVERY_TASK = {"load", "subflow", "free", "reported"}
STRANGER = str(new_id())
DEPLOYMENT = str(new_id())


class World:
    """Three flows, five flow runs, four task runs; their ids by name."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.ids: dict[str, UUID] = {}
        self._flows()
        self._runs()

    def _flows(self) -> None:
        for name, tags in {"alpha": ["etl", "daily"], "beta": ["etl"], "gamma": []}.items():
            self.ids[name] = self.books.flow(name, *tags)

    def _runs(self) -> None:
        books, ids = self.books, self.ids
        alpha, beta = ids["alpha"], ids["beta"]
        early = books.flow_run(alpha, "Early_Bird", "a", "b", idempotency_key="k1", flow_version="v1")
        late = proposed("SCHEDULED", scheduled_time=at(3600))
        ids["late-100%"] = books.flow_run(alpha, "late-100%", "b", state=late, flow_version="v2")
        ids["running"] = books.flow_run(beta, "running", idempotency_key="k2")
        ids["load"] = books.task_run(early, "load", "t1")
        ids["subflow"] = books.task_run(early, "subflow", "t1", "t2")
        ids["free"] = books.task_run(None, "free")
        ids["child"] = books.flow_run(alpha, "child", "c", parent_task_run_id=ids["subflow"])
        stateless = stateless_flow_run(beta, "stateless", "a", deployment_id=DEPLOYMENT)
        books.record(stateless)
        ids |= {"Early_Bird": early, "stateless": stateless.originator_id}
        books.now = at(10)
        books.set_flow_run(early, "RUNNING")
        books.set_task_run(ids["load"], "RUNNING")
        books.now = at(20)
        books.set_flow_run(ids["running"], "RUNNING", "Retrying")
        books.set_task_run(ids["free"], "RUNNING")
        counters = ReportedCounters(run_count=1, start_time=at(20), total_run_time=1.0)
        ids["reported"] = books.report(ids["running"], "reported", counters)
        books.now = at(40)
        books.set_flow_run(early, "COMPLETED")
        books.set_flow_run(ids["child"], "FAILED")
        books.set_task_run(ids["load"], "COMPLETED", "Cached")

    def id(self, name: str) -> str:
        return str(self.ids[name])

    def flows(self, **filters: Any) -> set[str]:
        return self._names(queries.read_flows, filters)

    def flow_runs(self, **filters: Any) -> set[str]:
        return self._names(queries.read_flow_runs, filters)

    def task_runs(self, **filters: Any) -> set[str]:
        return self._names(queries.read_task_runs, filters)

    def _names(self, query: Callable[..., Awaitable[Any]], filters: dict[str, Any]) -> set[str]:
        kinds: dict[str, type[BaseModel]] = {
            "flows": FlowFilter,
            "flow_runs": FlowRunFilter,
            "task_runs": TaskRunFilter,
        }
        parsed = {kind: kinds[kind].model_validate(filter) for kind, filter in filters.items()}
        return set(self.books.names(query, **parsed))


Cases = list[tuple[dict[str, Any], set[str]]]


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, template_database: str) -> Iterator[World]:
    """One world for all tests: they only read."""
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        yield World(books)


def check_flow_runs(world: World, cases: Cases) -> None:
    assert [(filter, world.flow_runs(flow_runs=filter)) for filter, _ in cases] == cases


def check_task_runs(world: World, cases: Cases) -> None:
    assert [(filter, world.task_runs(task_runs=filter)) for filter, _ in cases] == cases


def check_flows(world: World, cases: Cases) -> None:
    assert [(filter, world.flows(flows=filter)) for filter, _ in cases] == cases


def test_no_filter_and_an_empty_one_mean_everything_whatever_the_operator(world: World) -> None:
    assert world.flow_runs() == EVERYONE
    check_flow_runs(world, [({}, EVERYONE), ({"operator": "or_"}, EVERYONE), ({"name": {}}, EVERYONE)])
    assert world.task_runs() == EVERY_TASK
    assert world.flows() == {"alpha", "beta", "gamma"}


def test_flow_runs_by_id(world: World) -> None:
    early, child = world.id("Early_Bird"), world.id("child")
    check_flow_runs(
        world,
        [
            ({"id": {"any_": [early]}}, {"Early_Bird"}),
            ({"id": {"any_": [early, child, STRANGER]}}, {"Early_Bird", "child"}),
            ({"id": {"any_": []}}, set()),
            ({"id": {"any_": None}}, EVERYONE),
            ({"id": {"not_any_": [early]}}, EVERYONE - {"Early_Bird"}),
            ({"id": {"not_any_": []}}, EVERYONE),
            ({"id": {"any_": [early, child], "not_any_": [child]}}, {"Early_Bird"}),
        ],
    )


def test_flow_runs_by_name(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"name": {"any_": ["child", "running"]}}, {"child", "running"}),
            ({"name": {"any_": ["CHILD"]}}, set()),
            ({"name": {"any_": []}}, set()),
            ({"name": {"like_": "RL"}}, {"Early_Bird"}),
            ({"name": {"like_": "%"}}, {"late-100%"}),
            ({"name": {"like_": "_"}}, {"Early_Bird"}),
            ({"name": {"like_": "\\"}}, set()),
            ({"name": {"like_": "'; DROP TABLE read.flows; --"}}, set()),
            ({"name": {"like_": ""}}, EVERYONE),
            ({"name": {"any_": ["child", "running"], "like_": "unn"}}, {"running"}),
        ],
    )


def test_flow_runs_by_tags(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"tags": {"all_": ["a"]}}, {"Early_Bird", "stateless"}),
            ({"tags": {"all_": ["b", "a"]}}, {"Early_Bird"}),
            ({"tags": {"all_": []}}, EVERYONE),
            ({"tags": {"any_": ["c", "b"]}}, {"Early_Bird", "late-100%", "child"}),
            ({"tags": {"any_": []}}, set()),
            ({"tags": {"is_null_": True}}, {"running"}),
            ({"tags": {"is_null_": False}}, EVERYONE - {"running"}),
            ({"tags": {"all_": ["a"], "any_": ["b"]}}, {"Early_Bird"}),
            ({"tags": {"operator": "or_", "all_": ["a"], "is_null_": True}}, {"Early_Bird", "stateless", "running"}),
        ],
    )


def test_flow_runs_by_state(world: World) -> None:
    with_state = EVERYONE - {"stateless"}
    check_flow_runs(
        world,
        [
            ({"state": {"type": {"any_": ["FAILED", "RUNNING"]}}}, {"child", "running"}),
            ({"state": {"type": {"any_": ["FAILED"]}}}, {"child"}),
            ({"state": {"type": {"any_": []}}}, set()),
            ({"state": {"type": {"not_any_": ["FAILED"]}}}, with_state - {"child"}),
            ({"state": {"type": {"not_any_": []}}}, EVERYONE),
            ({"state": {"name": {"any_": ["Retrying", "Scheduled"]}}}, {"running", "late-100%"}),
            ({"state": {"name": {"not_any_": ["Retrying", "Failed"]}}}, {"Early_Bird", "late-100%"}),
            ({"state": {"type": {"any_": ["RUNNING"]}, "name": {"any_": ["Running"]}}}, set()),
            (
                {"state": {"operator": "or_", "type": {"any_": ["RUNNING"]}, "name": {"any_": ["Failed"]}}},
                {"running", "child"},
            ),
            ({"state": {"operator": "or_", "type": {"any_": ["FAILED"], "not_any_": ["FAILED"]}}}, with_state),
            ({"state": {}}, EVERYONE),
        ],
    )


def test_flow_runs_by_start_and_end(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"start_time": {"after_": at(10), "before_": at(10)}}, {"Early_Bird"}),
            ({"start_time": {"after_": at(20)}}, {"running", "child"}),
            ({"start_time": {"before_": at(19)}}, {"Early_Bird"}),
            ({"start_time": {"is_null_": True}}, {"late-100%", "stateless"}),
            ({"start_time": {"is_null_": False}}, {"Early_Bird", "running", "child"}),
            ({"end_time": {"after_": at(40)}}, {"Early_Bird", "child"}),
            ({"end_time": {"before_": at(39)}}, set()),
            ({"end_time": {"is_null_": True}}, {"late-100%", "stateless", "running"}),
            ({"end_time": {"is_null_": False}}, {"Early_Bird", "child"}),
        ],
    )


def test_flow_runs_by_the_times_they_were_expected_and_are_scheduled_for(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"expected_start_time": {"after_": at(1)}}, {"late-100%"}),
            ({"expected_start_time": {"before_": at(0)}}, {"Early_Bird", "running", "child"}),
            ({"next_scheduled_start_time": {"after_": at(3600)}}, {"late-100%"}),
            ({"next_scheduled_start_time": {"before_": at(3599)}}, set()),
        ],
    )


def test_a_time_may_come_with_any_offset_and_means_utc_without_one(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"start_time": {"after_": "2026-05-04T14:00:20+02:00"}}, {"running", "child"}),
            ({"start_time": {"after_": "2026-05-04T12:00:20"}}, {"running", "child"}),
            ({"start_time": {"after_": "0001-01-01T00:00:00Z"}}, {"Early_Bird", "running", "child"}),
        ],
    )


def test_flow_runs_by_deployment(world: World) -> None:
    without = EVERYONE - {"stateless"}
    check_flow_runs(
        world,
        [
            ({"deployment_id": {"any_": [DEPLOYMENT]}}, {"stateless"}),
            ({"deployment_id": {"any_": [DEPLOYMENT, STRANGER]}}, {"stateless"}),
            ({"deployment_id": {"any_": []}}, set()),
            ({"deployment_id": {"is_null_": True}}, without),
            ({"deployment_id": {"is_null_": False}}, {"stateless"}),
            ({"deployment_id": {"any_": [DEPLOYMENT], "is_null_": True}}, set()),
            ({"deployment_id": {"operator": "or_", "any_": [DEPLOYMENT], "is_null_": True}}, EVERYONE),
        ],
    )


def test_flow_runs_by_the_task_run_that_stands_for_them(world: World) -> None:
    parent = world.id("subflow")
    check_flow_runs(
        world,
        [
            ({"parent_task_run_id": {"any_": [parent]}}, {"child"}),
            ({"parent_task_run_id": {"any_": [STRANGER]}}, set()),
            ({"parent_task_run_id": {"is_null_": True}}, EVERYONE - {"child"}),
            ({"parent_task_run_id": {"is_null_": False}}, {"child"}),
            ({"parent_task_run_id": {"operator": "or_", "any_": [parent], "is_null_": True}}, EVERYONE),
        ],
    )


def test_flow_runs_by_idempotency_key_and_flow_version(world: World) -> None:
    check_flow_runs(
        world,
        [
            ({"idempotency_key": {"any_": ["k1", "k2"]}}, {"Early_Bird", "running"}),
            ({"idempotency_key": {"not_any_": ["k1"]}}, {"running"}),
            ({"idempotency_key": {"not_any_": []}}, EVERYONE),
            ({"flow_version": {"any_": ["v2"]}}, {"late-100%"}),
            ({"flow_version": {"any_": ["v1", "v2"]}}, {"Early_Bird", "late-100%"}),
            ({"flow_version": {"any_": []}}, set()),
        ],
    )


def test_the_fields_of_a_filter_are_joined_by_its_operator(world: World) -> None:
    name, tags = {"any_": ["running", "child"]}, {"all_": ["a"]}
    check_flow_runs(
        world,
        [
            ({"name": name, "tags": tags}, set()),
            ({"operator": "and_", "name": name, "tags": {"is_null_": True}}, {"running"}),
            ({"operator": "or_", "name": name, "tags": tags}, {"running", "child", "Early_Bird", "stateless"}),
            # Inside of one field, what is asked still has to hold together.
            ({"operator": "or_", "name": {"any_": ["running"], "like_": "child"}, "tags": {"all_": ["c"]}}, {"child"}),
        ],
    )


def test_task_runs_by_their_own_fields(world: World) -> None:
    check_task_runs(
        world,
        [
            ({"id": {"any_": [world.id("load"), world.id("free")]}}, {"load", "free"}),
            ({"id": {"any_": []}}, set()),
            ({"name": {"any_": ["load"]}}, {"load"}),
            ({"name": {"like_": "RE"}}, {"free", "reported"}),
            ({"tags": {"all_": ["t1"]}}, {"load", "subflow"}),
            ({"tags": {"all_": ["t1", "t2"]}}, {"subflow"}),
            ({"tags": {"is_null_": True}}, {"free", "reported"}),
            ({"tags": {"operator": "or_", "all_": ["t2"], "is_null_": True}}, {"subflow", "free", "reported"}),
            ({"state": {"type": {"any_": ["COMPLETED"]}}}, {"load"}),
            ({"state": {"type": {"any_": ["RUNNING", "FAILED"]}}}, {"free", "reported", "subflow"}),
            ({"state": {"name": {"any_": ["Cached"]}}}, {"load"}),
            (
                {"state": {"operator": "or_", "type": {"any_": ["FAILED"]}, "name": {"any_": ["Cached"]}}},
                {"load", "subflow"},
            ),
            ({"operator": "or_", "name": {"any_": ["free"]}, "tags": {"all_": ["t2"]}}, {"free", "subflow"}),
        ],
    )


def test_task_runs_by_their_times(world: World) -> None:
    check_task_runs(
        world,
        [
            ({"start_time": {"after_": at(10), "before_": at(10)}}, {"load"}),
            ({"start_time": {"is_null_": False}}, EVERY_TASK),
            ({"start_time": {"is_null_": True}}, set()),
            ({"end_time": {"after_": at(40)}}, {"load", "subflow"}),
            ({"end_time": {"is_null_": True}}, {"free", "reported"}),
            ({"expected_start_time": {"before_": at(0)}}, {"load", "subflow", "free"}),
            ({"expected_start_time": {"after_": at(1)}}, set()),
        ],
    )


def test_task_runs_that_stand_for_subflows(world: World) -> None:
    check_task_runs(
        world,
        [
            ({"subflow_runs": {"exists_": True}}, {"subflow"}),
            ({"subflow_runs": {"exists_": False}}, EVERY_TASK - {"subflow"}),
            ({"subflow_runs": {}}, EVERY_TASK),
        ],
    )


def test_task_runs_by_flow_run(world: World) -> None:
    early = world.id("Early_Bird")
    inside = EVERY_TASK - {"free"}
    check_task_runs(
        world,
        [
            ({"flow_run_id": {"any_": [early]}}, {"load", "subflow"}),
            ({"flow_run_id": {"any_": []}}, set()),
            ({"flow_run_id": {}}, inside),
            ({"flow_run_id": {"is_null_": False}}, inside),
            ({"flow_run_id": {"is_null_": None}}, EVERY_TASK),
            ({"flow_run_id": {"is_null_": True}}, {"free"}),
            ({"flow_run_id": {"operator": "or_", "any_": [early], "is_null_": True}}, {"free"}),
            ({"flow_run_id": {"operator": "or_", "any_": [STRANGER]}}, set()),
        ],
    )


def test_flows_by_their_own_fields(world: World) -> None:
    check_flows(
        world,
        [
            ({"id": {"any_": [world.id("alpha"), STRANGER]}}, {"alpha"}),
            ({"id": {"not_any_": [world.id("alpha")]}}, {"beta", "gamma"}),
            ({"name": {"any_": ["beta", "gamma"]}}, {"beta", "gamma"}),
            ({"name": {"like_": "MM"}}, {"gamma"}),
            ({"tags": {"all_": ["etl"]}}, {"alpha", "beta"}),
            ({"tags": {"all_": ["etl", "daily"]}}, {"alpha"}),
            ({"tags": {"is_null_": True}}, {"gamma"}),
            ({"tags": {"operator": "or_", "all_": ["daily"], "is_null_": True}}, {"alpha", "gamma"}),
            ({"operator": "or_", "name": {"any_": ["beta"]}, "tags": {"all_": ["daily"]}}, {"alpha", "beta"}),
        ],
    )


def test_flows_by_their_flow_runs_and_task_runs(world: World) -> None:
    running: dict[str, Any] = {"state": {"type": {"any_": ["RUNNING"]}}}
    assert world.flows(flow_runs=running) == {"beta"}
    assert world.flows(flow_runs={}) == {"alpha", "beta"}
    assert world.flows(task_runs={"name": {"any_": ["load"]}}) == {"alpha"}
    assert world.flows(task_runs={}) == {"alpha", "beta"}
    assert world.flows(flows={"name": {"any_": ["alpha"]}}, flow_runs=running) == set()


def test_the_flow_run_and_the_task_run_of_a_flow_belong_together(world: World) -> None:
    load = {"name": {"any_": ["load"]}}
    assert world.flows(flow_runs={"name": {"any_": ["Early_Bird"]}}, task_runs=load) == {"alpha"}
    assert world.flows(flow_runs={"name": {"any_": ["late-100%"]}}, task_runs=load) == set()


def test_flow_runs_by_their_flow_and_task_runs(world: World) -> None:
    assert world.flow_runs(flows={"tags": {"all_": ["daily"]}}) == {"Early_Bird", "late-100%", "child"}
    assert world.flow_runs(flows={}) == EVERYONE
    assert world.flow_runs(task_runs={"tags": {"all_": ["t1"]}}) == {"Early_Bird"}
    assert world.flow_runs(task_runs={}) == {"Early_Bird", "running"}
    assert world.flow_runs(flows={"name": {"any_": ["beta"]}}, task_runs={}) == {"running"}
    assert world.flow_runs(flow_runs={"name": {"any_": ["child"]}}, task_runs={}) == set()


def test_task_runs_by_their_flow_and_flow_run(world: World) -> None:
    assert world.task_runs(flow_runs={"id": {"any_": [world.id("running")]}}) == {"reported"}
    assert world.task_runs(flows={"name": {"any_": ["alpha"]}}) == {"load", "subflow"}
    assert world.task_runs(flow_runs={}) == EVERY_TASK - {"free"}
    assert world.task_runs(flows={}) == EVERY_TASK - {"free"}
    assert world.task_runs(flows={"name": {"any_": ["alpha"]}}, flow_runs={"name": {"any_": ["running"]}}) == set()
    assert world.task_runs(flows={}, task_runs={"subflow_runs": {"exists_": True}}) == {"subflow"}


def test_counts_are_of_what_lists_hold(world: World) -> None:
    books = world.books
    etl, tagged = FlowFilter.model_validate({"tags": {"all_": ["etl"]}}), TaskRunFilter.model_validate({"tags": {}})
    failed = FlowRunFilter.model_validate({"state": {"type": {"any_": ["FAILED"]}}})
    assert books.ask(queries.count_flows) == 3
    assert books.ask(queries.count_flows, flows=etl, flow_runs=failed) == 1
    assert books.ask(queries.count_flow_runs) == 5
    assert books.ask(queries.count_flow_runs, flows=etl, task_runs=tagged) == 2
    assert books.ask(queries.count_flow_runs, flow_runs=FlowRunFilter.model_validate({"id": {"any_": []}})) == 0
    assert books.ask(queries.count_task_runs) == 4
    assert books.ask(queries.count_task_runs, flow_runs=failed) == 0
