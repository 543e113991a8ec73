"""Random filters over random runs find what a plain reading of the filter language finds."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import new_id
from domain.states import StateType
from projections import queries
from projections.filters import FlowFilter, FlowRunFilter
from tests.projections.seeding import Books, flow_run_command, proposed, stateless_flow_run

NAMES = st.sampled_from(["a", "A", "ab", "a%", "%b", "_", "a_b", "\\", "a\\%", "'", "", "b b", "éa"])
TAGS = st.lists(st.sampled_from(["x", "y", "z", "X", "x,y", '"', "NULL"]), max_size=3)
TYPES = st.sampled_from([StateType.PENDING, StateType.RUNNING, StateType.FAILED])
STATE_NAMES = st.sampled_from(["Pending", "Running", "Odd"])
OPERATORS = st.sampled_from(["and_", "or_"])
RUNS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "tags": TAGS, "state": st.none() | st.tuples(TYPES, STATE_NAMES)},
    ),
    min_size=1,
    max_size=6,
)


def _listed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(values, max_size=3)


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "operator": OPERATORS,
        # Ids are not known before the runs are made: these are indexes, the last of them of no run.
        "id": st.fixed_dictionaries(
            {}, optional={"any_": _listed(st.integers(0, 6)), "not_any_": _listed(st.integers(0, 6))}
        ),
        "name": st.fixed_dictionaries({}, optional={"any_": _listed(NAMES), "like_": st.none() | NAMES}),
        "tags": st.fixed_dictionaries(
            {},
            optional={
                "operator": OPERATORS,
                "all_": st.none() | TAGS,
                "any_": st.none() | TAGS,
                "is_null_": st.none() | st.booleans(),
            },
        ),
        "state": st.fixed_dictionaries(
            {},
            optional={
                "operator": OPERATORS,
                "type": st.fixed_dictionaries({}, optional={"any_": _listed(TYPES), "not_any_": _listed(TYPES)}),
                "name": st.fixed_dictionaries(
                    {}, optional={"any_": _listed(STATE_NAMES), "not_any_": _listed(STATE_NAMES)}
                ),
            },
        ),
    },
)


def fits(run: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether a run fits a filter, told without any SQL."""
    fields = {"id": run["id"], "name": run["name"], "tags": run["tags"], "state": run["state"]}
    verdicts = [
        _joined(filter[field].get("operator"), list(_answers(field, value, filter[field])))
        for field, value in fields.items()
        if field in filter
    ]
    return _joined(filter.get("operator"), verdicts)


def _joined(operator: str | None, verdicts: list[bool]) -> bool:
    return any(verdicts) or not verdicts if operator == "or_" else all(verdicts)


def _answers(field: str, value: Any, asked: dict[str, Any]) -> Iterator[bool]:
    if field == "state":
        type, name = value or (None, None)
        yield from _answers("type", type, asked.get("type", {}))
        yield from _answers("name", name, asked.get("name", {}))
        return
    for question, answer in asked.items():
        match question, answer:
            case ("operator", _) | (_, None):
                continue
            case "all_", tags:
                yield set(tags) <= set(value)
            case "any_", tags if field == "tags":
                yield bool(set(tags) & set(value))
            case "is_null_", wanted:
                yield (not value) == wanted
            case "any_", values:
                yield value in values
            case "not_any_", values:
                yield not values or (value is not None and value not in values)
            case "like_", text:
                yield text.lower() in value.lower()


@pytest.fixture
def books(conninfo: str) -> Iterator[Books]:
    with Books(conninfo) as books:
        yield books


def make(books: Books, flow: UUID, runs: list[dict[str, Any]]) -> None:
    """Make the runs in the ledger, and note their ids."""
    for run in runs:
        run["id"] = new_id()
    facts = [((flow, run["name"], *run["tags"]), run) for run in runs]
    stateful = [
        flow_run_command(*named, id=run["id"], state=proposed(*run["state"])) for named, run in facts if run["state"]
    ]
    stateless = [stateless_flow_run(*named, id=run["id"]) for named, run in facts if not run["state"]]
    books.execute(*stateful)
    if stateless:
        books.record(*stateless)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=RUNS, filter=FILTERS)
def test_random_filters_find_what_a_plain_reading_of_them_finds(
    books: Books, runs: list[dict[str, Any]], filter: dict[str, Any]
) -> None:
    flow = books.flow(str(new_id()))
    make(books, flow, runs)
    ids = [run["id"] for run in runs]
    if "id" in filter:
        filter["id"] = {
            question: indexes and [ids[index] if index < len(ids) else new_id() for index in indexes]
            for question, indexes in filter["id"].items()
        }
    own = FlowFilter.model_validate({"id": {"any_": [flow]}})
    found = json.loads(books.ask(queries.read_flow_runs, flows=own, flow_runs=FlowRunFilter.model_validate(filter)))
    assert {UUID(run["id"]) for run in found} == {run["id"] for run in runs if fits(run, filter)}
