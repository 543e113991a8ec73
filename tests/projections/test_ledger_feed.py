"""Whatever is in the ledger, and however it is read, the feed gives each event that is wanted once, in order."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from domain.aggregate import Aggregate
from domain.commands.command import Command
from domain.commands.flows import CreateFlow
from domain.deployment import Deployment
from domain.events import EventMapper
from domain.flow import Flow
from domain.flow_run import FlowRun
from domain.ledger import AGGREGATES, Ledger
from domain.task_run import TaskRun
from projections import ledger_feed, statements
from projections.connection import LedgerConnection
from projections.ledger_feed import Entry, Subject, Wanted, read_window
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from tests.checks import stored_events
from tests.domain.conftest import CALLER, Clock, create_flow_run
from tests.projections.test_projection_law import FLOWS, RUNS, TASKS, commands

wanteds = st.builds(
    Wanted,
    topics=st.none() | st.frozensets(st.sampled_from(["FlowRun.StateSet", "TaskRun.Created", "FlowRun.Deleted"])),
    flow_run_id=st.none() | st.sampled_from(RUNS),
    task_run_id=st.none() | st.none() | st.sampled_from(TASKS),
    flow_id=st.none() | st.sampled_from(FLOWS),
    tags=st.frozensets(st.sampled_from("ab"), max_size=1),
)


def subject_of(aggregate: Aggregate) -> Subject:
    match aggregate:
        case FlowRun():
            return Subject(aggregate.id, None, aggregate.flow_id, frozenset(aggregate.tags))
        case TaskRun():
            return Subject(aggregate.flow_run_id, aggregate.id, aggregate.flow_id, frozenset(aggregate.tags))
        case Flow():
            return Subject(flow_id=aggregate.id)
        case Deployment():
            return Subject(flow_id=aggregate.flow_id)
        case _:
            return Subject()


def told(conninfo: str) -> Iterator[tuple[int, str, Subject, dict[str, Any] | None, bool]]:
    """Of every event: position, topic, what it is about, the state before it, whether its run is reported."""
    aggregates: dict[UUID, Aggregate] = {}
    with psycopg.connect(conninfo) as connection:
        stored = stored_events(connection)
    mapper = EventMapper()
    for position, event in enumerate(map(mapper.to_domain_event, stored), 1):
        id, topic = event.originator_id, stored[position - 1].topic
        aggregate = aggregates.setdefault(id, AGGREGATES[topic.partition(".")[0]](id))
        before = getattr(aggregate, "state", None)
        state = None if before is None else {"type": before.type, "name": before.name}
        aggregate.apply(event)
        yield position, topic, subject_of(aggregate), state, getattr(aggregate, "reported", False)


def read_all(conninfo: str, wanted: Wanted, limit: int) -> list[Entry]:
    async def read() -> list[Entry]:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            entries: list[Entry] = []
            reached, head = 0, 1
            while reached < head:
                window = await read_window(connection, reached, wanted, limit)
                assert reached < window.reached <= window.head
                assert len(window.entries) <= limit
                assert all(reached < entry.position <= window.reached for entry in window.entries)
                entries += window.entries
                reached, head = window.reached, window.head
            return entries

    return asyncio.run(read())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(commands, min_size=1, max_size=6), max_size=6), wanteds, st.integers(1, 5), st.integers(1, 9))
def test_the_windows_of_a_feed_hold_each_wanted_event_once_in_order(
    conninfo: str, batches: list[list[Command]], wanted: Wanted, limit: int, positions_at_once: int
) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
        flow = CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})
        for batch in [[flow], *batches]:
            ledger.execute(lambda batch=batch: batch)  # type: ignore[misc]
    expected = [one for one in told(conninfo) if wanted.fits(one[1], one[2])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_feed, "POSITIONS_AT_ONCE", positions_at_once)
        found = read_all(conninfo, wanted, limit)
    assert [(entry.position, entry.topic, entry.subject) for entry in found] == [one[:3] for one in expected]
    for entry, (_, _, _, state_before, reported) in zip(found, expected, strict=True):
        transition = json.loads(entry.document)["transition"]
        if transition is not None and not reported:
            assert transition["state_before"] == state_before


def test_a_window_holds_no_more_bytes_than_it_may_but_one_event_at_least(conninfo: str) -> None:
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
        flow = CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})
        large = [create_flow_run(FLOWS[0], parameters={"much": "x" * 700_000}) for _ in range(3)]
        ledger.execute(lambda: [flow, *large])

    async def read() -> list[list[str]]:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            windows, reached = [], 0
            while True:
                window = await read_window(connection, reached)
                windows.append([entry.topic for entry in window.entries])
                reached = window.reached
                if reached == window.head:
                    return windows

    run = ["FlowRun.Created", "FlowRun.StateSet"]
    assert asyncio.run(read()) == [["Flow.Created", *run], run, run]
