"""The events of one aggregate, page by page, and the aggregate at any of them: also of a run with very many."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from api.embedded_postgres import EmbeddedPostgres
from domain.commands.flow_runs import SetFlowRunState, UpdateFlowRun
from domain.deployment import Deployment
from domain.flow_run import FlowRun, FlowRunChanges
from domain.ids import new_id
from domain.task_run import TaskRun
from projections.as_of import Moment, read_as_of
from projections.audit import page_of_events, read_events
from tests.projections.seeding import CALLER, Books, at, copy_of, proposed

MANY = 10_000


@pytest.fixture(scope="module")
def books(postgres: EmbeddedPostgres, template_database: str) -> Iterator[Books]:
    with copy_of(template_database, postgres.conninfo) as conninfo, Books(conninfo) as books:
        yield books


@pytest.fixture(scope="module")
def busy(books: Books) -> UUID:
    """A run with very many events, in one of which in a hundred it is in another state; time passes between batches."""
    id = books.flow_run(books.flow("busy"), "run", state=proposed("RUNNING"))
    commands: list[Any] = []
    for number in range(3, MANY + 1):
        if number % 100:
            commands.append(UpdateFlowRun(caller=CALLER, id=id, changes=FlowRunChanges(name=f"name-{number}")))
        else:
            state = proposed("RUNNING", f"State-{number}")
            commands.append(SetFlowRunState(caller=CALLER, id=id, state=state, force=True))
    for first in range(0, len(commands), 500):
        books.now = at(first)
        books.execute(*commands[first : first + 500])
    return id


def page(books: Books, id: UUID, after: int, limit: int) -> Any:
    rows = books.ask(read_events, FlowRun, id, after=after, limit=limit)
    return json.loads(page_of_events(FlowRun, id, rows, after=after, limit=limit))


def test_a_run_with_very_many_events_is_told_page_by_page(books: Books, busy: UUID) -> None:
    after, versions = 0, []
    while after is not None:
        found = page(books, busy, after, 1_000)
        versions += [event["version"] for event in found["events"]]
        after = found["next_after"]
    assert versions == list(range(1, MANY + 1))


def test_a_page_in_the_middle_knows_the_state_before_it(books: Books, busy: UUID) -> None:
    (event,) = page(books, busy, 5_099, 1)["events"]
    assert event["transition"]["state_before"] == {"type": "RUNNING", "name": "State-5000"}
    assert event["transition"]["state"]["name"] == "State-5100"


def test_such_a_run_is_shown_as_it_was_in_the_middle_of_it(books: Books, busy: UUID) -> None:
    def shown(moment: Moment) -> Any:
        return json.loads(books.ask(read_as_of, FlowRun, busy, moment))

    then = shown(Moment(version=5_099))
    assert (then["name"], then["state"]["name"]) == ("name-5099", "State-5000")
    # All that was recorded in one batch was recorded at the same time.
    then = shown(Moment(time=at(500)))
    assert (then["name"], then["state"]["name"]) == ("name-1002", "State-1000")
    assert shown(Moment(time=at(999.999)))["name"] == then["name"]


def test_what_is_of_another_kind_has_no_events(books: Books, busy: UUID) -> None:
    assert books.ask(read_events, TaskRun, busy, after=0, limit=1) is None
    assert books.ask(read_events, FlowRun, new_id(), after=0, limit=1) is None
    assert books.ask(read_as_of, Deployment, busy, Moment(version=1)) is None
