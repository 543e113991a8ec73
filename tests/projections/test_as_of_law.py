"""Whatever is asked of the ledger, the past is what the events up to then add up to, also of what was deleted since."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection

from domain.aggregate import Aggregate
from domain.commands.command import Command
from domain.commands.flow_runs import DeleteFlowRun, SetFlowRunState, UpdateFlowRun
from domain.commands.flows import CreateFlow
from domain.deployment import Deployment
from domain.events import EventMapper
from domain.flow import Flow
from domain.flow_run import FlowRun, FlowRunChanges
from domain.ledger import Ledger, replay
from domain.states import StateType
from domain.task_run import TaskRun
from projections import statements
from projections.as_of import Moment, read_as_of
from projections.connection import LedgerConnection
from projections.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from projections.past_runs import count_past_flow_runs, read_past_flow_runs
from projections.projectors import document_of
from projections.recorder import PostgresLedgerRecorder
from projections.tables import TABLES
from tests.checks import check_ledger, stored_events
from tests.domain.conftest import CALLER, Clock, create_flow_run, proposed
from tests.projections.filter_model import KINDS, WORK, Model
from tests.projections.test_projection_law import DEPLOYMENT, FLOWS, RUNS, commands
from tests.projections.test_projection_law import asked as asked_for

SHOWN = (FlowRun, TaskRun, Flow, Deployment)
EVERYTHING = 1_000

types, names = st.sampled_from([type.value for type in StateType]), st.sampled_from(["Pending", "Running", "Retrying"])
operators, yes_or_no = st.sampled_from(["and_", "or_"]), st.none() | st.booleans()


def _some(values: st.SearchStrategy[Any], *questions: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    asked: dict[str, Any] = {question: st.none() | st.lists(values, max_size=3) for question in questions}
    return st.fixed_dictionaries({}, optional={**asked, **more})


ids, tags = st.sampled_from([str(id) for id in RUNS]), st.sampled_from("abc")
deployments, flows = st.sampled_from([str(DEPLOYMENT), str(FLOWS[0])]), st.sampled_from([str(id) for id in FLOWS])
state = st.fixed_dictionaries(
    {},
    optional={
        "operator": operators,
        "type": _some(types, "any_", "not_any_"),
        "name": _some(names, "any_", "not_any_"),
    },
)
filters = st.fixed_dictionaries(
    {
        "flow_runs": st.fixed_dictionaries(
            {},
            optional={
                "operator": operators,
                "id": _some(ids, "any_", "not_any_"),
                "tags": _some(tags, "any_", "all_", is_null_=yes_or_no, operator=operators),
                "deployment_id": _some(deployments, "any_", is_null_=yes_or_no, operator=operators),
                "state": state,
            },
        )
    },
    optional={
        "flows": st.fixed_dictionaries({}, optional={"id": _some(flows, "any_", "not_any_")}),
        "deployments": st.fixed_dictionaries({}, optional={"id": _some(deployments, "any_")}),
    },
)


class Past:
    """All that a ledger holds, and what a plain reading of it says of any time."""

    def __init__(self, stored: list[StoredEvent]) -> None:
        by_stream = sorted(stored, key=lambda event: (str(event.originator_id), event.originator_version))
        self.mapper = EventMapper()
        self.streams = {
            UUID(str(id)): list(stream) for id, stream in groupby(by_stream, key=lambda event: event.originator_id)
        }
        times = (self.mapper.to_domain_event(event).recorded_at for event in stored)
        self.times: list[datetime] = sorted(set(times))

    def as_of(self, id: UUID, time: datetime) -> Aggregate | None:
        """An aggregate as the events recorded by a time leave it."""
        known = [one for one in self.streams[id] if self.mapper.to_domain_event(one).recorded_at <= time]
        return replay(self.mapper, id, known) if known else None

    def shown(self) -> Iterator[tuple[UUID, type[Aggregate]]]:
        for id, stream in self.streams.items():
            kind = type(replay(self.mapper, id, stream[:1]))
            if kind in SHOWN:
                yield id, kind

    def model(self, time: datetime) -> Model:
        """The flow runs there were at a time, for filters to choose from."""
        found = (self.as_of(id, time) for id, kind in self.shown() if kind is FlowRun)
        runs = [json.loads(document_of(run)) for run in found if run is not None and not run.deleted]
        others: dict[str, Any] = {
            "flows": [{"id": str(id)} for id in FLOWS],
            "deployments": [{"id": id} for id in {run["deployment_id"] for run in runs} - {None}],
        }
        return Model({**{kind: [] for kind in (*KINDS, *WORK)}, **others, "flow_runs": runs})


def expected(aggregate: Aggregate | None) -> Any:
    return None if aggregate is None or aggregate.deleted else json.loads(document_of(aggregate))


def shown_fields(document: bytes | None, fields: Any) -> Any:
    """A document without what is joined to it, and without figures that move with the clock."""
    return None if document is None else {field: json.loads(document)[field] for field in fields or ()}


async def check_by_id(connection: AsyncConnection, past: Past) -> int:
    """Assert that everything is shown as it was after each of its events; give the number of histories."""
    number = 0
    for id, kind in past.shown():
        number += 1
        for version in range(len(past.streams[id]) + 1):
            prefix = past.streams[id][:version]
            then = expected(replay(past.mapper, id, prefix) if prefix else None)
            assert shown_fields(await read_as_of(connection, kind, id, Moment(version=version)), then) == then
        for time in past.times:
            then = expected(past.as_of(id, time))
            assert shown_fields(await read_as_of(connection, kind, id, Moment(time=time)), then) == then
    return number


async def check_lists(connection: AsyncConnection, past: Past, asked: list[dict[str, Any]]) -> None:
    """Assert that lists and counts as of every time are what the same filter finds among the folds of then."""
    for time in [past.times[0] - timedelta(microseconds=1), *past.times, past.times[-1] + timedelta(days=1)]:
        model = past.model(time)
        for one in asked:
            found = {
                "flow_runs": FlowRunFilter.model_validate(one["flow_runs"]),
                "flows": FlowFilter.model_validate(one["flows"]) if "flows" in one else None,
                "deployments": DeploymentFilter.model_validate(one["deployments"]) if "deployments" in one else None,
            }
            fitting = sorted(model.found("flow_runs", one), key=lambda run: run["id"], reverse=True)
            listed = json.loads(await read_past_flow_runs(connection, time, limit=EVERYTHING, **found))
            assert [{field: run[field] for field in then} for run, then in zip(listed, fitting, strict=True)] == fitting
            assert await count_past_flow_runs(connection, time, **found) == len(fitting)
            some = json.loads(await read_past_flow_runs(connection, time, limit=1, offset=1, **found))
            assert [run["id"] for run in some] == [run["id"] for run in fitting[1:2]]


def check_past(conninfo: str, asked: list[dict[str, Any]]) -> int:
    with psycopg.connect(conninfo) as connection:
        past = Past(stored_events(connection))

    async def check() -> int:
        async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
            number = await check_by_id(connection, past)
            await check_lists(connection, past, asked)
            return number

    return asyncio.run(check())


run_ids, run_tags = st.sampled_from(RUNS), st.lists(tags, max_size=2)
turns = st.one_of(
    asked_for(SetFlowRunState, id=run_ids, state=types.map(proposed), force=st.just(True)),
    asked_for(SetFlowRunState, id=run_ids, state=types.map(proposed), force=st.just(False)),
    asked_for(UpdateFlowRun, id=run_ids, changes=st.builds(FlowRunChanges, tags=run_tags)),
    asked_for(DeleteFlowRun, id=run_ids),
)
"""What turns the life of a run, of which there is little among all that can be asked."""

batches_of_commands = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.integers(0, 2).flatmap(lambda which: turns if which else commands), min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def beginning() -> list[Command]:
    """A flow with two runs; there is no more of it than others may make."""
    made: list[Command] = [CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})]
    for id, type in zip(RUNS, ("PENDING", "RUNNING"), strict=False):
        command = create_flow_run(FLOWS[0], state=proposed(type), tags=["a"])
        object.__setattr__(command, "id", id)
        made.append(command)
    return made


def check_history(conninfo: str, batches: list[tuple[int, list[Command]]], asked: list[dict[str, Any]]) -> int:
    """Assert all of it of one history, in which time passes before some batches; give the number of streams."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    clock = Clock()
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock) as ledger:
        for seconds, batch in [(0, beginning()), *batches]:
            clock.move(seconds=seconds)
            ledger.execute(lambda batch=batch: batch)
    check_ledger(conninfo)
    return check_past(conninfo, asked)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches_of_commands, asked=st.lists(filters, min_size=1, max_size=4))
def test_the_past_is_what_the_events_up_to_then_add_up_to(
    conninfo: str, batches: list[tuple[int, list[Command]]], asked: list[dict[str, Any]]
) -> None:
    check_history(conninfo, batches, asked)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_so_it_is_for_a_thousand_histories(conninfo: str) -> None:
    checked = 0

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(batches=batches_of_commands, asked=st.lists(filters, min_size=1, max_size=4))
    def check(batches: list[tuple[int, list[Command]]], asked: list[dict[str, Any]]) -> None:
        nonlocal checked
        checked += check_history(conninfo, batches, asked)

    check()
    assert checked >= 1_000
