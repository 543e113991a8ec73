"""Reading flows and runs: documents as they were projected, in the order and of the page that was asked for."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic_core import to_json

from domain.flow_run import FlowRun
from domain.ids import new_id
from domain.run import Run
from domain.states import State, StateType
from domain.task_run import ReportedCounters
from projections import queries
from projections.documents import flow_run_document, task_run_document, with_estimates, with_queue
from tests.projections.seeding import Books, at, proposed, stateless_flow_run

FIGURES = re.compile(rb'\{"estimated_run_time":([^,]+),"estimated_start_time_delta":([^,]+),(.*)', re.DOTALL)


@pytest.fixture
def books(conninfo: str) -> Iterator[Books]:
    with Books(conninfo) as books:
        yield books


@pytest.fixture
def flow(books: Books) -> UUID:
    return books.flow("a flow", "daily")


def at_one_moment(books: Books, *asked: tuple[Callable[..., Awaitable[Any]], Any]) -> tuple[datetime, list[Any]]:
    """The answers to queries in one transaction, which all see the same time, and that time."""

    async def ask(connection: Any) -> tuple[datetime, list[Any]]:
        async with connection.transaction():
            cursor = await connection.execute("SELECT now()")
            (now,) = await cursor.fetchone()
            return now, [await query(connection, *args) for query, *args in asked]

    now, answers = books.ask(ask)
    return now, answers


def check_document(run: Run, document: bytes, now: datetime) -> None:
    """The document is the projector's to the byte, and its figures are those that Python computes for that time."""
    projected = with_queue(flow_run_document(run), run, None) if isinstance(run, FlowRun) else task_run_document(run)
    found = FIGURES.fullmatch(document)
    expected = FIGURES.fullmatch(with_estimates(projected, run, now))
    assert found is not None
    assert expected is not None
    assert b"{" + found[3] == projected
    figures = [float(figure) for figure in found.groups()[:2]]
    assert figures == pytest.approx([float(figure) for figure in expected.groups()[:2]], abs=1e-5)


class Course:
    """Flow runs in every situation that their two figures depend on."""

    def __init__(self, books: Books, flow: UUID) -> None:
        future = proposed("SCHEDULED", scheduled_time=datetime.fromisoformat("2999-01-01T00:00:00Z"))
        stateless = stateless_flow_run(flow, "stateless")
        books.record(stateless)
        self.late = books.flow_run(flow, "late")
        self.scheduled = books.flow_run(flow, "scheduled", state=future)
        self.early = books.flow_run(flow, "early", state=proposed("SCHEDULED", scheduled_time=at(100)))
        self.running = books.flow_run(flow, "running")
        self.again = books.flow_run(flow, "again")
        self.ended = books.flow_run(flow, "ended")
        self.stateless = stateless.originator_id
        books.now = at(7.25)
        for run in (self.early, self.running, self.again, self.ended):
            books.set_flow_run(run, "RUNNING")
        books.now = at(9.5)
        books.set_flow_run(self.ended, "CANCELLED")
        books.set_flow_run(self.again, "PAUSED")
        books.now = at(11)
        books.set_flow_run(self.again, "RUNNING")

    @property
    def ids(self) -> list[UUID]:
        return [run for _, run in sorted(vars(self).items())]


def test_a_flow_run_is_the_projected_document_with_two_figures_that_move_with_the_clock(
    books: Books, flow: UUID
) -> None:
    ids = Course(books, flow).ids
    now, documents = at_one_moment(books, *((queries.read_flow_run, id) for id in ids))
    assert len(documents) == 7
    for id, document in zip(ids, documents, strict=True):
        run = books.aggregate(id)
        assert isinstance(run, FlowRun)
        check_document(run, document, now)


def test_the_figures_of_a_run_say_how_long_it_ran_and_how_late_it_was(books: Books, flow: UUID) -> None:
    course = Course(books, flow)
    now, documents = at_one_moment(
        books, *((queries.read_flow_run, id) for id in (course.ended, course.early, course.scheduled, course.again))
    )
    figures = [(run["estimated_run_time"], run["estimated_start_time_delta"]) for run in map(json.loads, documents)]
    assert figures[0] == (2.25, 7.25)
    assert figures[1] == (pytest.approx((now - at(7.25)).total_seconds(), abs=1e-5), 0)
    assert figures[2] == (0, 0)
    assert figures[3] == (pytest.approx(2.25 + (now - at(11)).total_seconds(), abs=1e-5), 7.25)


def test_a_task_run_is_the_projected_document_with_the_same_two_figures(books: Books, flow: UUID) -> None:
    run = books.flow_run(flow, "parent")
    waiting, ended = books.task_run(run, "waiting"), books.task_run(run, "ended")
    counters = ReportedCounters(run_count=1, start_time=at(3), total_run_time=1.5)
    unexpected = books.report(run, "unexpected", counters)
    books.now = at(5)
    books.set_task_run(ended, "RUNNING")
    books.now = at(6)
    books.set_task_run(ended, "COMPLETED")
    ids = [waiting, ended, unexpected]
    now, documents = at_one_moment(books, *((queries.read_task_run, id) for id in ids))
    for id, document in zip(ids, documents, strict=True):
        task_run = books.aggregate(id)
        assert isinstance(task_run, Run)
        check_document(task_run, document, now)


def test_a_list_holds_the_same_documents_as_single_reads(books: Books, flow: UUID) -> None:
    run = books.flow_run(flow, "with tasks")
    tasks = [books.task_run(run, name) for name in ("one", "two")]
    ids = sorted([run, *Course(books, flow).ids], reverse=True)
    _, (listed, *single) = at_one_moment(books, (queries.read_flow_runs,), *((queries.read_flow_run, id) for id in ids))
    assert listed == b"[" + b",".join(single) + b"]"
    _, (listed, *single) = at_one_moment(
        books, (queries.read_task_runs,), *((queries.read_task_run, id) for id in sorted(tasks, reverse=True))
    )
    assert listed == b"[" + b",".join(single) + b"]"
    assert books.ask(queries.read_flows) == b"[" + books.ask(queries.read_flow, flow) + b"]"


def test_a_flow_is_read_by_its_id_and_by_its_name(books: Books) -> None:
    flow = books.flow('Überfluß "quoted" \\ 100% 🌊', "größer")
    document = books.ask(queries.read_flow, flow)
    assert books.ask(queries.read_flow_by_name, 'Überfluß "quoted" \\ 100% 🌊') == document
    assert json.loads(document)["tags"] == ["größer"]
    assert "größer".encode() in document


def test_what_is_not_there_is_none_and_lists_of_nothing_are_empty(books: Books) -> None:
    for read in (
        queries.read_flow,
        queries.read_flow_run,
        queries.read_task_run,
        queries.read_flow_run_state,
        queries.read_task_run_state,
    ):
        assert books.ask(read, new_id()) is None
    assert books.ask(queries.read_flow_by_name, "nobody") is None
    for read_all in (queries.read_flows, queries.read_flow_runs, queries.read_task_runs):
        assert books.ask(read_all) == b"[]"
    for read_states in (queries.read_flow_run_states, queries.read_task_run_states):
        assert books.ask(read_states, new_id()) == b"[]"


def test_a_deleted_run_and_what_belongs_to_it_is_no_longer_read(books: Books, flow: UUID) -> None:
    run = books.flow_run(flow, "short-lived")
    task = books.task_run(run, "a task")
    state = json.loads(books.ask(queries.read_flow_run, run))["state_id"]
    books.delete_flow_run(run)
    assert books.ask(queries.read_flow_run, run) is None
    assert books.ask(queries.read_task_run, task) is None
    assert books.ask(queries.read_flow_run_state, state) is None
    assert books.ask(queries.read_flow_run_states, run) == b"[]"
    assert books.ask(queries.count_task_runs) == 0


def test_the_states_of_a_flow_run_are_listed_in_the_order_in_which_they_came(books: Books, flow: UUID) -> None:
    run = books.flow_run(flow, "three states")
    books.set_flow_run(run, "RUNNING")
    books.set_flow_run(run, "COMPLETED", "Done")
    books.flow_run(flow, "another")
    states = json.loads(books.ask(queries.read_flow_run_states, run))
    assert [state["name"] for state in states] == ["Pending", "Running", "Done"]
    current = books.aggregate(run)
    assert isinstance(current, FlowRun)
    assert books.ask(queries.read_flow_run_state, states[-1]["id"]) == to_json(current.state)


def test_reported_states_are_listed_by_the_time_they_were_entered(books: Books, flow: UUID) -> None:
    books.now = at(60)
    task = books.report(None, "reported", state=_state("Running", 20))
    for name, second in (("Pending", 10), ("Completed", 30), ("Also then", 30)):
        books.report(None, "reported", state=_state(name, second), id=task)
    states = json.loads(books.ask(queries.read_task_run_states, task))
    assert [state["name"] for state in states] == ["Pending", "Running", "Completed", "Also then"]
    assert json.loads(books.ask(queries.read_task_run_state, states[1]["id"])) == states[1]


def _state(name: str, second: int) -> State:
    return State(id=new_id(), type=StateType.RUNNING, name=name, timestamp=at(second))
