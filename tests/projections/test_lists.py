"""Lists of flows and runs in every order they can be asked for, page by page."""

import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from api.embedded_postgres import EmbeddedPostgres
from domain.task_run import ReportedCounters
from projections import queries
from projections.filters import FlowFilter, FlowRunFilter
from projections.sorting import FlowRunSort, FlowSort, TaskRunSort
from tests.projections.seeding import Books, at, copy_of, proposed, stateless_flow_run

Thing = dict[str, Any]
Read = Callable[..., Awaitable[bytes]]


def known(value: Any) -> tuple[bool, Any]:
    """A key by which what is null comes after everything else."""
    return value is None, value


KEYS: dict[str, Callable[[Thing], Any]] = {
    "ID": lambda thing: "",
    "NAME": lambda thing: thing["name"],
    "CREATED": lambda thing: thing["created"],
    "UPDATED": lambda thing: thing["updated"],
    "START_TIME": lambda thing: known(thing["start_time"] or thing["expected_start_time"]),
    "EXPECTED_START_TIME": lambda thing: known(thing["expected_start_time"]),
    "NEXT_SCHEDULED_START_TIME": lambda thing: known(thing["next_scheduled_start_time"]),
    "END_TIME": lambda thing: known(thing["end_time"]),
    "DURATION": lambda thing: thing["estimated_run_time"],
}

SORTS = [
    *((queries.read_flows, sort) for sort in FlowSort),
    *((queries.read_flow_runs, sort) for sort in FlowRunSort),
    *((queries.read_task_runs, sort) for sort in TaskRunSort),
]


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres, template_database: str) -> Iterator[Books]:
    """Four flows, seven flow runs and six task runs for all tests, which only read."""
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        fill(books)
        yield books


def fill(books: Books) -> None:
    """Things of which some, but not all, are alike in whatever lists can be sorted by."""
    flow = books.flow("d flow")
    books.flow("b flow")
    books.now = at(10)
    for name in ("a flow", "c flow"):
        books.flow(name)
    states = [proposed("SCHEDULED", scheduled_time=at(second)) for second in (100, 100, 50)] + [None] * 3
    runs = [books.flow_run(flow, name, state=state) for name, state in zip("abcaba", states, strict=True)]
    books.record(stateless_flow_run(flow, "a", recorded_at=books.now))
    tasks = [books.task_run(runs[0], name) for name in "vwxy"]
    books.task_run(runs[0], "z", state=proposed("SCHEDULED", scheduled_time=at(70)))
    books.report(runs[1], "w", ReportedCounters(total_run_time=4.0))
    for start, end, run, task in ((20, 30, 2, 0), (20, 30, 3, 1), (31, 41, 4, 2)):
        books.now = at(start)
        books.set_flow_run(runs[run], "RUNNING")
        books.set_task_run(tasks[task], "RUNNING")
        books.now = at(end)
        books.set_flow_run(runs[run], "COMPLETED")
        books.set_task_run(tasks[task], "COMPLETED")
    books.set_task_run(tasks[3], "RUNNING")


def listed(books: Books, read: Read, **asked: Any) -> list[Thing]:
    things: list[Thing] = json.loads(books.ask(read, **asked))
    return things


@pytest.mark.parametrize(("read", "sort"), SORTS)
def test_lists_are_sorted_with_unknown_times_latest_and_equals_by_id(
    books: Books, read: Read, sort: FlowSort | FlowRunSort | TaskRunSort
) -> None:
    things = listed(books, read, sort=sort)
    field, _, direction = sort.rpartition("_")
    key = KEYS[field]
    expected = sorted(things, key=lambda thing: (key(thing), UUID(thing["id"]).int), reverse=direction == "DESC")
    assert [thing["id"] for thing in things] == [thing["id"] for thing in expected]
    distinct = {str(key(thing)) for thing in things}
    unique_names = read is queries.read_flows and field == "NAME"
    assert field == "ID" or unique_names or 1 < len(distinct) < len(things)


@pytest.mark.parametrize(("read", "sort"), SORTS)
def test_pages_of_a_list_hold_each_thing_once_in_the_order_of_the_list(
    books: Books, read: Read, sort: FlowSort | FlowRunSort | TaskRunSort
) -> None:
    ids = [thing["id"] for thing in listed(books, read, sort=sort)]
    pages = [listed(books, read, sort=sort, limit=2, offset=offset) for offset in range(0, len(ids), 2)]
    assert [thing["id"] for page in pages for thing in page] == ids
    assert all(len(page) == 2 for page in pages[:-1])


def test_without_a_sort_flows_are_listed_by_name_and_runs_newest_first(books: Books) -> None:
    assert [flow["name"] for flow in listed(books, queries.read_flows)] == ["a flow", "b flow", "c flow", "d flow"]
    for read in (queries.read_flow_runs, queries.read_task_runs):
        ids = [run["id"] for run in listed(books, read)]
        assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("read", [queries.read_flows, queries.read_flow_runs, queries.read_task_runs])
def test_a_limit_of_zero_and_an_offset_behind_the_end_give_nothing(books: Books, read: Read) -> None:
    assert listed(books, read, limit=0) == []
    assert listed(books, read, offset=7) == []
    assert listed(books, read, offset=10**30) == []


def test_a_page_says_how_many_things_and_pages_there_are(books: Books) -> None:
    every = listed(books, queries.read_flow_runs, sort=FlowRunSort.NAME_ASC)
    page = json.loads(books.ask(queries.paginate_flow_runs, sort=FlowRunSort.NAME_ASC, limit=3, page=3))
    assert [run["id"] for run in page.pop("results")] == [every[6]["id"]]
    assert page == {"count": 7, "limit": 3, "pages": 3, "page": 3}


def test_a_page_is_of_the_things_that_fit(books: Books) -> None:
    named = FlowFilter.model_validate({"name": {"any_": ["d flow", "c flow"]}})
    page = json.loads(books.ask(queries.paginate_flows, flows=named, sort=FlowSort.NAME_DESC, limit=1))
    assert [flow["name"] for flow in page.pop("results")] == ["d flow"]
    assert page == {"count": 2, "limit": 1, "pages": 2, "page": 1}
    run = FlowRunFilter.model_validate({"name": {"any_": ["b"]}})
    page = json.loads(books.ask(queries.paginate_task_runs, flow_runs=run, limit=200))
    assert [task["name"] for task in page.pop("results")] == ["w"]
    assert page == {"count": 1, "limit": 200, "pages": 1, "page": 1}


def test_pages_behind_the_last_and_pages_without_room_are_empty(books: Books) -> None:
    behind = json.loads(books.ask(queries.paginate_flows, limit=3, page=9))
    assert behind == {"results": [], "count": 4, "limit": 3, "pages": 2, "page": 9}
    roomless = json.loads(books.ask(queries.paginate_flows, limit=0))
    assert roomless == {"results": [], "count": 4, "limit": 0, "pages": 0, "page": 1}
