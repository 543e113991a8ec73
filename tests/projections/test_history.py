"""Counts, histories and lateness: what counters say is what the rows of the runs say, and both are right."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.embedded_postgres import EmbeddedPostgres
from domain.states import StateType
from projections import history, queries, run_counts
from projections.counted import counted
from projections.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from projections.filters.related import Filters
from projections.history import IntervalTooShort
from tests.checks import check_counts
from tests.projections.seeding import NOON, Books, at, copy_of, proposed, stateless_flow_run

DEPLOYMENT, OTHER = UUID(int=1), UUID(int=2)
IN_VAIN = {"not_any_": []}
"""Asks nothing, but of a field that no counter knows of."""

TYPES = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED, StateType.FAILED]


class World:
    """Flow runs of two flows: spread over three days before noon, around the time of the test, and yet to come."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.runs: list[UUID] = []
        self.flows = [books.flow("a"), books.flow("b")]
        present = datetime.now(UTC)
        for number in range(60):
            flow, tags = self.flows[number % 2], ["x", "y", "x"][: number % 4]
            time = [NOON - timedelta(minutes=37 * number), present, present + timedelta(hours=number)][number % 3]
            state = proposed("SCHEDULED", scheduled_time=time)
            if number % 5 == 0:
                books.record(
                    stateless_flow_run(
                        flow, "none", *tags, recorded_at=books.now, deployment_id=[DEPLOYMENT, OTHER][number % 2]
                    )
                )
                continue
            run = books.flow_run(flow, f"run-{number}", *tags, state=state)
            self.runs.append(run)
            books.now += timedelta(seconds=number * 7)
            type = TYPES[number % len(TYPES)]
            if type is not StateType.SCHEDULED:
                books.set_flow_run(run, "RUNNING")
                books.now += timedelta(seconds=3)
                books.set_flow_run(run, type, "Odd" if number % 7 == 0 else None)
            task = books.task_run(run, "t", state=proposed("PENDING"))
            if number % 4 == 0:
                books.set_task_run(task, "RUNNING")
            if number == 50:
                books.delete_flow_run(run)


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, template_database: str) -> Iterator[World]:
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        made = World(books)
        books.ask(run_counts.fold)
        # Some of what changed is not added up yet.
        books.flow_run(made.flows[0], "late", "x", state=proposed("SCHEDULED", scheduled_time=at(90)))
        for run in made.runs[:6]:
            books.set_flow_run(run, "COMPLETED", "Odd")
        yield made


@pytest.fixture
def books(conninfo: str) -> Iterator[Books]:
    with Books(conninfo) as books:
        yield books


states = st.fixed_dictionaries(
    {},
    optional={
        "type": st.fixed_dictionaries(
            {}, optional={"any_": st.lists(st.sampled_from(TYPES)), "not_any_": st.lists(st.sampled_from(TYPES))}
        ),
        "name": st.fixed_dictionaries({}, optional={"any_": st.lists(st.sampled_from(["Odd", "Running", "Late"]))}),
        "operator": st.sampled_from(["and_", "or_"]),
    },
)
instants = st.sampled_from([-3, -1.003, 0, 0.5, 24]).map(lambda hours: (NOON + timedelta(hours=hours)).isoformat())
ranges = st.fixed_dictionaries({}, optional={"before_": instants, "after_": instants})
tags = st.sampled_from([{"all_": ["x"]}, {"any_": ["y"]}, {"all_": ["z"]}])
deployments = st.lists(st.sampled_from([DEPLOYMENT, OTHER]), max_size=2).map(lambda ids: {"any_": ids})
own = st.fixed_dictionaries({}, optional={"state": states, "expected_start_time": ranges})
dimensions = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"tags": tags}),
    st.fixed_dictionaries({"deployment_id": deployments}),
)
flow_filters = st.none() | st.sampled_from([{"name": {"any_": ["a"]}}, {"name": {"like_": ""}}, {"id": {"any_": []}}])


def both(world: World, query: Any, own: dict[str, Any], flows: dict[str, Any] | None, **asked: Any) -> list[Any]:
    """What a query says by the counters, and by the rows."""
    given_flows = None if flows is None else FlowFilter.model_validate(flows)
    answers = []
    for by_rows in (False, True):
        filter = FlowRunFilter.model_validate({**own, **({"id": IN_VAIN} if by_rows else {})})
        filters: Filters = {"flow_runs": filter, "flows": given_flows}
        assert (counted("flow_runs", filters) is None) is by_rows
        answers.append(world.books.ask(query, queries.LISTED_FLOW_RUNS, **filters, **asked))
    return answers


@settings(max_examples=150, deadline=None)
@given(own, dimensions, flow_filters)
def test_counters_count_what_the_rows_are(
    world: World, own: dict[str, Any], dimension: dict[str, Any], flows: dict[str, Any] | None
) -> None:
    flows = None if dimension else flows
    by_counters, by_rows = both(world, queries.count_listed, {**own, **dimension}, flows)
    assert by_counters == by_rows


@settings(max_examples=100, deadline=None)
@given(own, dimensions, flow_filters, st.sampled_from([1, 1.5, 60, 900, 3600, 3601, 86_400]), st.booleans())
def test_a_history_by_counters_is_that_of_the_rows(
    world: World,
    own: dict[str, Any],
    dimension: dict[str, Any],
    flows: dict[str, Any] | None,
    seconds: float,
    lately: bool,
) -> None:
    flows = None if dimension else flows
    start = (datetime.now(UTC) if lately else NOON) - timedelta(hours=30, milliseconds=1)
    asked = {"start": start, "end": start + timedelta(days=3), "interval": timedelta(seconds=seconds)}
    by_counters, by_rows = (
        json.loads(answer) for answer in both(world, history.read_history, {**own, **dimension}, flows, **asked)
    )
    for summed, looked_at in zip(by_counters, by_rows, strict=True):
        assert summed["interval_start"] == looked_at["interval_start"]
        for one, other in zip(summed["states"], looked_at["states"], strict=True):
            # Time goes by from one question to the other.
            for sum in ("sum_estimated_run_time", "sum_estimated_lateness"):
                assert one.pop(sum) == pytest.approx(other.pop(sum), abs=one["count_runs"] * 60)
            assert one == other


@settings(max_examples=60, deadline=None)
@given(own, dimensions, flow_filters)
def test_lateness_by_counters_is_that_of_the_rows(
    world: World, own: dict[str, Any], dimension: dict[str, Any], flows: dict[str, Any] | None
) -> None:
    flows = None if dimension else flows
    by_counters, by_rows = both(world, history.average_lateness, {**own, **dimension}, flows)
    assert by_counters == (None if by_rows is None else pytest.approx(by_rows, abs=60))


def test_a_history_tells_runs_by_interval_and_state(books: Books) -> None:
    flow = books.flow("f")
    early = books.flow_run(flow, "early", state=proposed("SCHEDULED", scheduled_time=at(0)))
    books.flow_run(flow, "later", state=proposed("SCHEDULED", "Odd", scheduled_time=at(100)))
    books.now = at(5)
    books.set_flow_run(early, "RUNNING")
    books.now = at(12.5)
    books.set_flow_run(early, "COMPLETED")
    told = json.loads(
        books.ask(
            history.read_history,
            queries.LISTED_FLOW_RUNS,
            start=at(0),
            end=at(190),
            interval=timedelta(seconds=60),
            now=at(7 * 86_400),
        )
    )
    completed, odd = told[0]["states"][0], told[1]["states"][0]
    assert [len(interval["states"]) for interval in told] == [1, 1, 0, 0]
    assert told[3] == {"interval_start": "2026-05-04T12:03:00Z", "interval_end": "2026-05-04T12:04:00Z", "states": []}
    assert completed == {
        "state_type": "COMPLETED",
        "state_name": "Completed",
        "count_runs": 1,
        "sum_estimated_run_time": 7.5,
        "sum_estimated_lateness": 5.0,
    }
    assert (odd["state_type"], odd["state_name"], odd["count_runs"]) == ("SCHEDULED", "Odd", 1)
    assert odd["sum_estimated_lateness"] > 86_400


def test_a_history_has_at_most_five_hundred_intervals_of_a_second_or_more(books: Books) -> None:
    asked = {"start": at(0), "end": at(10_000)}
    told = books.ask(history.read_history, queries.LISTED_FLOW_RUNS, **asked, interval=timedelta(seconds=1))
    assert len(json.loads(told)) == 500
    nothing = books.ask(
        history.read_history, queries.LISTED_FLOW_RUNS, start=at(1), end=at(1), interval=timedelta(seconds=1)
    )
    assert nothing == b"[]"
    with pytest.raises(IntervalTooShort):
        books.ask(history.read_history, queries.LISTED_FLOW_RUNS, **asked, interval=timedelta(seconds=0.5))


def test_task_runs_have_a_history_of_their_own(world: World) -> None:
    asked = {"start": NOON - timedelta(days=3), "end": NOON + timedelta(days=1), "interval": timedelta(days=1)}
    told = json.loads(world.books.ask(history.read_history, queries.LISTED_TASK_RUNS, **asked))
    running = TaskRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
    number = world.books.ask(queries.count_task_runs, task_runs=running)
    states = [state for interval in told for state in interval["states"]]
    assert number == sum(state["count_runs"] for state in states if state["state_type"] == "RUNNING") > 0


def test_counters_are_right_however_far_they_are_added_up(conninfo: str) -> None:
    def widths() -> set[int]:
        with psycopg.connect(conninfo) as connection:
            return {width for (width,) in connection.execute("SELECT DISTINCT width FROM read.run_counts")}

    with Books(conninfo) as books:
        flow = books.flow("f")
        runs = [books.flow_run(flow, "run", "tag", state=proposed("SCHEDULED", scheduled_time=at(7))) for _ in "abc"]
        assert widths() == {run_counts.CHANGES}
        for run in runs:
            books.ask(run_counts.fold, most=1)
            check_counts(conninfo)
            books.set_flow_run(run, "RUNNING")
            check_counts(conninfo)
        assert widths() == {run_counts.CHANGES, *run_counts.WIDTHS}
        books.delete_flow_run(runs[0])
        while run_counts.CHANGES in widths():
            books.ask(run_counts.fold, most=1)
            check_counts(conninfo)
        assert widths() == {*run_counts.WIDTHS}


def test_adding_up_counters_leaves_one_row_of_each_key(conninfo: str) -> None:
    with Books(conninfo) as books:
        flow = books.flow("f")
        for _ in range(3):
            books.set_flow_run(books.flow_run(flow, "run", "tag"), "RUNNING")
        books.ask(run_counts.fold)
        assert books.ask(queries.count_flow_runs) == 3
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute("SELECT dimension, width, state_type, runs FROM read.run_counts").fetchall()
    assert sorted(rows) == sorted(
        (dimension, width, "RUNNING", 3) for dimension in ("all", "flow", "tag") for width in run_counts.WIDTHS
    )
