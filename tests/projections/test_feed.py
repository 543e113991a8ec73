"""The feed shows every state of a run as an event in the shape clients know, and new ones once, in order of writing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.ids import new_id
from domain.states import State, StateType
from domain.task_run import ReportedCounters
from projections.client_events import ClientEvent, forget_client_events, write_client_events
from projections.feed import Cursor, Horizon, read_events, read_horizon, read_new_events
from projections.filters.events import EventFilter
from tests.projections.seeding import Books, at
from tests.support.samples import differences
from tests.support.server_process import wait_until

FRAMES = Path(__file__).parents[1] / "data" / "samples" / "3.9.1"
EVERY = EventFilter.model_validate({"occurred": {"since": at(-9999), "until": "2100-01-01T00:00:00Z"}, "order": "ASC"})
BEGINNING = Cursor(0, 0)


@pytest.fixture
def books(conninfo: str) -> Iterator[Books]:
    with Books(conninfo) as books:
        yield books


def read(books: Books, **asked: Any) -> list[dict[str, Any]]:
    found = books.ask(read_events, EVERY.model_copy(update=asked), 1000)
    return [json.loads(one.document) for one in found]


def recorded(event: str, file: str = "WS_api_events_out") -> dict[str, Any]:
    frames = json.loads((FRAMES / f"{file}.json").read_text())
    events = (frame["data"]["event"] for frame in frames if frame.get("data", {}).get("type") == "event")
    return next(one for one in events if one["event"] == event)


def sent(event: str = "my.event", id: UUID | None = None) -> ClientEvent:
    return ClientEvent(id=id or new_id(), occurred=at(0), event=event, resource={"prefect.resource.id": "my.thing"})


def run_count(event: dict[str, Any]) -> str:
    count: str = event["resource"]["prefect.run-count"]
    return count


@pytest.mark.parametrize("name", ["Cancelling", "Suspended"])
def test_a_state_of_a_flow_run_has_the_shape_that_was_recorded(books: Books, name: str) -> None:
    run = books.flow_run(books.flow("f"), "run")
    books.set_flow_run(run, "RUNNING")
    books.set_flow_run(run, "PAUSED" if name == "Suspended" else "CANCELLING", name, pause_reschedule=True)
    event, shape = read(books)[-1], recorded(f"prefect.flow-run.{name}")
    shape["related"] = shape["related"][:1]
    assert differences(shape, event) == []
    assert event["event"] == shape["event"]
    assert event["payload"] == shape["payload"]


def test_events_of_a_run_follow_one_another_and_carry_the_ids_of_its_states(books: Books) -> None:
    run = books.flow_run(books.flow("f"), "run")
    books.set_flow_run(run, "RUNNING")
    books.now = at(301)
    books.set_flow_run(run, "COMPLETED")
    pending, running, completed = read(books)
    assert (pending["follows"], running["follows"]) == (None, pending["id"])
    # What happened long before is not named: the order is plain.
    assert completed["follows"] is None
    assert completed["payload"]["intended"] == {"from": "RUNNING", "to": "COMPLETED"}


def test_the_run_count_of_an_event_is_that_of_its_state_and_a_resumed_run_goes_on_with_its_attempt(
    books: Books,
) -> None:
    run = books.flow_run(books.flow("f"), "run")
    for type, name in (
        ("RUNNING", None),
        ("PAUSED", "Suspended"),
        ("SCHEDULED", "Resuming"),
        ("PENDING", None),
        ("RUNNING", None),
        ("SCHEDULED", "AwaitingRetry"),
        ("RUNNING", None),
    ):
        books.now = at(len(read(books)))
        books.set_flow_run(run, type, name)
    assert [run_count(event) for event in read(books)] == ["0", "1", "1", "1", "1", "1", "1", "2"]


def test_a_reported_state_is_shown_as_its_client_told_it(books: Books) -> None:
    flow_run = books.flow_run(books.flow("f"), "run", "red")
    pending = State(id=new_id(), type=StateType.PENDING, name="Pending", timestamp=at(1))
    task = books.report(flow_run, "t", ReportedCounters(run_count=0), pending)
    running = State(id=new_id(), type=StateType.RUNNING, name="Running", timestamp=at(2))
    counters = ReportedCounters(run_count=3, start_time=at(2))
    books.report(flow_run, "t", counters, running, id=task)
    shape = next(
        event
        for event in json.loads((FRAMES / "task_run_events_by_state.json").read_text())
        if event["event"] == "prefect.task-run.Running"
    )
    event = read(books, resource=None)[-1]
    assert event["event"] == "prefect.task-run.Running"
    assert (run_count(event), event["payload"]["task_run"]["run_count"]) == ("3", 3)
    assert event["resource"].keys() == shape["resource"].keys()
    assert event["resource"]["prefect.orchestration"] == "client"
    assert [labels["prefect.resource.role"] for labels in event["related"]] == ["flow-run", "flow", "tag"]
    assert event["payload"].keys() == shape["payload"].keys()
    assert event["payload"]["validated_state"].keys() == shape["payload"]["validated_state"].keys()
    assert "end_time" not in event["payload"]["task_run"]


def test_an_event_of_a_client_is_kept_once_and_given_back_as_it_was_sent(books: Books) -> None:
    event = sent()
    books.ask(write_client_events, [event])
    books.ask(write_client_events, [event.model_copy(update={"event": "another"}), sent("other")])
    (first, second) = sorted(read(books), key=lambda one: str(one["event"]))
    assert (first["event"], second["event"]) == ("my.event", "other")
    assert ClientEvent.model_validate(first) == event


def test_old_events_of_clients_are_let_go_of_some_at_a_time(books: Books) -> None:
    books.ask(write_client_events, [sent(f"e{number}") for number in range(5)])
    assert [books.ask(forget_client_events, at(1), 3) for _ in range(3)] == [3, 2, 0]
    assert books.ask(forget_client_events, at(0)) == 0
    assert read(books) == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["run", "event", "read"]), max_size=25), limit=st.integers(1, 4))
def test_a_reader_of_what_is_new_meets_every_event_once_in_the_order_of_writing(
    books: Books, steps: list[str], limit: int
) -> None:
    cursor = Cursor.at(books.ask(read_horizon))
    flow, written, found = books.flow(new_id().hex), [], []

    def read_on() -> None:
        nonlocal cursor
        # What others in the same PostgreSQL are about to write holds up what is theirs and ours alike.
        wait_until(lambda: not books.ask(read_horizon).behind)
        horizon: Horizon = books.ask(read_horizon)
        while not cursor.reached(horizon):
            documents, cursor = books.ask(read_new_events, EVERY, cursor, horizon, limit)
            found.extend(json.loads(document) for document in documents)

    for step in steps:
        match step:
            case "run":
                run = books.flow_run(flow, "run")
                books.set_flow_run(run, "RUNNING")
                written += [(f"prefect.flow-run.{run}", name) for name in ("Pending", "Running")]
            case "event":
                event = sent()
                books.ask(write_client_events, [event])
                written.append((str(event.id), "my.event"))
            case "read":
                read_on()
    read_on()
    met = [
        (one["resource"]["prefect.resource.id"], one["event"].rpartition(".")[2])
        if one["event"] != "my.event"
        else (one["id"], one["event"])
        for one in found
    ]
    assert sorted(met) == sorted(written)
    of_runs = [one for one in met if one[0].startswith("prefect.")]
    assert of_runs == [one for one in written if one[0].startswith("prefect.")]


def test_what_a_transaction_under_way_may_still_be_before_is_not_read_yet(books: Books, conninfo: str) -> None:
    with psycopg.connect(conninfo) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        books.ask(write_client_events, [sent()])
        horizon = books.ask(read_horizon)
        assert horizon.behind
        assert books.ask(read_new_events, EVERY, BEGINNING, horizon, 10)[0] == []
    wait_until(lambda: not books.ask(read_horizon).behind)
    horizon = books.ask(read_horizon)
    assert len(books.ask(read_new_events, EVERY, BEGINNING, horizon, 10)[0]) == 1


def test_a_reader_of_a_ledger_that_was_emptied_begins_anew(books: Books) -> None:
    books.flow_run(books.flow("f"), "run")
    documents, _ = books.ask(read_new_events, EVERY, Cursor(1000, 0), books.ask(read_horizon), 10)
    assert len(documents) == 1
