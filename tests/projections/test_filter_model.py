"""Random filters of every kind and field, across kinds, find in random worlds what plain Python finds."""

import json
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.embedded_postgres import EmbeddedPostgres
from domain.commands.deployments import CreateDeployment, References
from domain.commands.work_pools import CreateWorkPool, DeleteWorkPool
from domain.deployment import DeploymentSettings
from domain.ids import new_id
from domain.work_pool import WorkPoolSettings
from projections import queries, work
from projections.filters import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    TaskRunFilter,
    WorkPoolFilter,
    WorkQueueFilter,
)
from projections.sorting import DeploymentSort, FlowRunSort, FlowSort, TaskRunSort
from tests.projections.filter_model import KINDS, Model, ordered
from tests.projections.seeding import CALLER, NOON, Books, copy_of, proposed, stateless_flow_run

NAMES = ["a", "A", "ab", "a%", "_", "a_b", "", "b b", "'"]
TAGS = ["x", "y", "z", "x,y"]
TYPES = ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]
STATE_NAMES = ["Pending", "Running", "Odd", "Completed"]
WORDS = [*NAMES, *TAGS, *STATE_NAMES, "k1", "v1", "q", "default", "process", "docker"]
POOLS = ["a", "b b", "gone"]
TIMES = [NOON + timedelta(seconds=seconds) for seconds in (-60, 0, 60, 3600)]

FILTERS: dict[str, type[BaseModel]] = {
    "flows": FlowFilter,
    "deployments": DeploymentFilter,
    "flow_runs": FlowRunFilter,
    "task_runs": TaskRunFilter,
    "work_pools": WorkPoolFilter,
    "work_pool_queues": WorkQueueFilter,
}
FIELDS = [(kind, field) for kind in KINDS for field in FILTERS[kind].model_fields if field != "operator"]
SORTS: dict[str, Any] = {
    "flows": FlowSort,
    "deployments": DeploymentSort,
    "flow_runs": FlowRunSort,
    # How long runs have been running moves between one question and the next.
    "task_runs": [sort for sort in TaskRunSort if not sort.startswith("DURATION")],
}
LISTED = {
    "flows": queries.LISTED_FLOWS,
    "deployments": queries.LISTED_DEPLOYMENTS,
    "flow_runs": queries.LISTED_FLOW_RUNS,
    "task_runs": queries.LISTED_TASK_RUNS,
}


class World(Model):
    """A few things of every kind, made at random from a seed, as documents and in a database."""

    def __init__(self, books: Books, seed: int) -> None:
        self.books, self._draw = books, Random(seed)  # noqa: S311
        self._fill()
        documents = {kind: json.loads(books.ask(getattr(queries, f"read_{kind}"))) for kind in KINDS}
        documents["work_pools"] = json.loads(books.ask(work.read_pools, limit=10))
        documents["work_pool_queues"] = json.loads(books.ask(work.read_queues, limit=10))
        super().__init__(documents)
        self.ids = [*self.by_id, str(new_id())]

    def _fill(self) -> None:
        books, draw = self.books, self._draw
        for name, type in (("a", "process"), ("b b", "docker"), ("gone", "process")):
            settings = WorkPoolSettings()
            books.execute(CreateWorkPool(caller=CALLER, id=new_id(), name=name, type=type, settings=settings))
        flows = [books.flow(name, *self._tags()) for name in draw.sample(NAMES, 4)]
        deployments = [self._deployment(draw.choice(flows)) for _ in range(3)]
        runs: list[UUID] = []
        tasks: list[UUID] = []
        for number in range(9):
            books.now += timedelta(seconds=draw.choice([0, 60]))
            flow = draw.choice(flows)
            facts: dict[str, Any] = {
                "deployment_id": draw.choice([None, *deployments]),
                "flow_version": draw.choice([None, "v1", "a"]),
                "work_queue_name": draw.choice([None, "q", "a%"]),
            }
            if draw.random() < 0.2:
                stateless = stateless_flow_run(flow, draw.choice(NAMES), *self._tags(), recorded_at=books.now, **facts)
                books.record(stateless)
                runs.append(stateless.originator_id)
                continue
            facts["work_pool_name"] = draw.choice([None, *POOLS])
            facts["parent_task_run_id"] = draw.choice([None, *tasks[-1:]])
            facts["idempotency_key"] = draw.choice([None, f"k{number}", "k1"])
            runs.append(books.flow_run(flow, draw.choice(NAMES), *self._tags(), state=self._state(), **facts))
            self._move(books.set_flow_run, runs[-1])
            tasks += [self._task(draw.choice([None, *runs])) for _ in range(draw.randrange(3))]
        if draw.random() < 0.5:
            books.delete_flow_run(runs[0])
        books.execute(DeleteWorkPool(caller=CALLER, name="gone"))

    def _task(self, run: UUID | None) -> UUID:
        id = self.books.task_run(
            run, f"{self._draw.choice(NAMES)}{new_id().hex[:2]}", *self._tags(), state=self._state()
        )
        self._move(self.books.set_task_run, id)
        return id

    def _deployment(self, flow: UUID) -> UUID:
        draw, id = self._draw, new_id()
        references = References(work_pool_name=draw.choice([None, *POOLS]), work_queue_name=draw.choice([None, "q"]))
        settings = DeploymentSettings(
            tags=self._tags(),
            paused=draw.random() < 0.5,
            work_queue_name=references.work_queue_name,
            concurrency_limit=draw.choice([None, 1, 3]),
        )
        name = f"{draw.choice(NAMES)}{id.hex[-2:]}"
        create = CreateDeployment(
            caller=CALLER, id=id, flow_id=flow, name=name, settings=settings, references=references
        )
        self.books.execute(create)
        return id

    def _tags(self) -> list[str]:
        return self._draw.choices(TAGS, k=self._draw.randrange(3))

    def _state(self) -> Any:
        type = self._draw.choice(TYPES)
        time = {"scheduled_time": self._draw.choice(TIMES)} if type == "SCHEDULED" else {}
        return proposed(type, self._draw.choice([None, "Odd"]), **time)

    def _move(self, set_state: Any, id: UUID) -> None:
        if self._draw.random() < 0.5:
            self.books.now += timedelta(seconds=self._draw.choice([0, 60]))
            set_state(id, self._draw.choice(TYPES[1:]))


@pytest.fixture(scope="module", params=[1, 2, 3])
def world(request: Any, postgres: EmbeddedPostgres, template_database: str) -> Iterator[World]:
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        yield World(books, request.param)


def values(world: World, schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, as JSON, that have a chance to mean something in a world."""
    if "$ref" in schema:
        return values(world, definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return st.one_of(values(world, one, definitions) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return st.sampled_from([value for value in schema["enum"] if len(schema["enum"]) < 9 or value in TYPES])
    match schema["type"], schema.get("format"):
        case "object", _:
            fields = {name: values(world, one, definitions) for name, one in schema["properties"].items()}
            most = st.fixed_dictionaries({}, optional=fields)
            return most | st.sampled_from(sorted(fields)).flatmap(
                lambda name: st.fixed_dictionaries({name: fields[name]})
            )
        case "array", _:
            return st.lists(values(world, schema["items"], definitions), max_size=4)
        case "string", "uuid":
            return st.sampled_from(world.ids)
        case "string", "date-time":
            return st.sampled_from([time.isoformat() for time in TIMES])
        case "string", None:
            return st.sampled_from(WORDS)
        case "boolean", _:
            return st.booleans()
        case "integer", _:
            return st.integers(0, 4)
    raise TypeError(f"There are no values of {schema}")


def filters(world: World, kind: str) -> st.SearchStrategy[Any]:
    schema = FILTERS[kind].model_json_schema()
    return values(world, schema, schema["$defs"])


def check(world: World, kind: str, asked: dict[str, Any], sort: str, limit: int, offset: int) -> None:
    given = {name: None if one is None else FILTERS[name].model_validate(one) for name, one in asked.items()}
    expected = [one["id"] for one in ordered(world.found(kind, asked), sort)]
    query = getattr(queries, f"read_{kind}")
    found = json.loads(world.books.ask(query, sort=sort, limit=limit, offset=offset, columns=["id"], **given))
    assert [one["id"] for one in found] == expected[offset : offset + limit]
    assert world.books.ask(queries.count_listed, LISTED[kind], **given) == len(expected)


@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_filter_of_its_own_kind_finds_what_plain_python_finds(world: World, kind: str, data: st.DataObject) -> None:
    asked = {kind: data.draw(filters(world, kind))}
    check(world, kind, asked, data.draw(st.sampled_from(list(SORTS[kind]))), 200, 0)


@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_filters_across_kinds_find_what_plain_python_finds(world: World, kind: str, data: st.DataObject) -> None:
    asked = {name: data.draw(st.none() | filters(world, name)) for name in FILTERS}
    sort, limit = data.draw(st.sampled_from(list(SORTS[kind]))), data.draw(st.integers(0, 12))
    check(world, kind, asked, sort, limit, data.draw(st.integers(0, 5)))


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize(("kind", "field"), FIELDS)
@given(data=st.data())
def test_every_field_alone_finds_what_plain_python_finds(
    world: World, kind: str, field: str, data: st.DataObject
) -> None:
    schema = FILTERS[kind].model_json_schema()
    asked = {field: data.draw(values(world, schema["properties"][field], schema["$defs"]))}
    check(world, kind, {kind: asked}, next(iter(SORTS[kind])), 200, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_pages_tile_the_list(world: World, kind: str) -> None:
    whole = json.loads(world.books.ask(getattr(queries, f"read_{kind}")))
    paginate = getattr(queries, f"paginate_{kind}")
    pages = [json.loads(world.books.ask(paginate, limit=2, page=page)) for page in range(1, len(whole) // 2 + 2)]
    assert [one["id"] for page in pages for one in page["results"]] == [one["id"] for one in whole]
    assert {page["count"] for page in pages} == {len(whole)}
