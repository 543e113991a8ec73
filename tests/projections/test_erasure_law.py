"""Wherever payload is erased, the read tables equal what the events make, while the key is there and afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.commands.command import Command
from domain.commands.erasure import ErasePayload, EraseTaskRuns
from domain.commands.flow_run_inputs import WriteFlowRunInput
from domain.commands.flow_runs import SetFlowRunState, UpdateFlowRun
from domain.commands.flows import CreateFlow
from domain.commands.task_runs import SetTaskRunState
from domain.events import EventMapper
from domain.flow_run import FlowRunChanges, FlowRunPayloadErased
from domain.ledger import Ledger, replay
from domain.payloads import ErasedKeys
from domain.run import PayloadErased, Run
from domain.states import StateType
from domain.task_run import TaskRunPayloadErased
from projections import statements
from projections.connection import LedgerConnection
from projections.payload_keys.store import StoredKeys
from projections.rebuild.catching_up import CatchingUp
from projections.recorder import PostgresLedgerRecorder
from projections.schema import create_read_tables
from projections.tables import TABLES
from tests.checks import check_ledger, live_rows, stored_events, streams
from tests.domain.conftest import CALLER, Clock, create_flow_run, create_task_run, proposed
from tests.projections.test_projection_law import FLOWS, RUNS, TASKS, asked, commands, runs, tasks
from tests.support.payload_keys import KeysInMemory

MARKER = "what somebody put in"

said = st.sampled_from(list(StateType)).map(lambda type: proposed(type.value, message=MARKER, data={"said": MARKER}))


def with_id(command: Command, id: UUID) -> Command:
    object.__setattr__(command, "id", id)
    return command


def _told_flow_run(id: UUID, type: str) -> Command:
    state = proposed(type, message=MARKER)
    return with_id(create_flow_run(FLOWS[0], state=state, parameters={"p": MARKER}, context={"c": MARKER}), id)


def _told_task_run(id: UUID, flow_run: UUID | None) -> Command:
    return create_task_run(flow_run, id=id, dynamic_key=str(id), state=proposed("PENDING", message=MARKER))


erasures = st.one_of(
    asked(ErasePayload, id=runs | tasks),
    asked(EraseTaskRuns, flow_run_id=runs, task_runs=st.lists(tasks, max_size=3).map(tuple)),
)
telling = st.one_of(
    st.builds(_told_flow_run, runs, st.sampled_from(["PENDING", "COMPLETED"])),
    st.builds(_told_task_run, tasks, st.none() | runs),
    asked(SetFlowRunState, id=runs, state=said, force=st.booleans()),
    asked(SetTaskRunState, id=tasks, state=said, force=st.booleans()),
    asked(UpdateFlowRun, id=runs, changes=st.builds(FlowRunChanges, parameters=st.just({"q": MARKER}))),
    asked(
        WriteFlowRunInput,
        id=runs,
        input_id=st.uuids(),
        key=st.sampled_from("kl"),
        value=st.just(MARKER),
        sender=st.none(),
    ),
)
# As one choice among all commands, an erasure would come up once in eighty.
mixed = st.sampled_from([telling, telling, erasures, erasures, commands]).flatmap(lambda some: some)
batches = st.lists(st.lists(mixed, min_size=2, max_size=8), min_size=2, max_size=6)
a_few_examples = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def beginning() -> list[list[Command]]:
    """Runs, each told of, of which some have ended."""
    return [
        [CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})],
        [_told_flow_run(id, type) for id, type in zip(RUNS, ("COMPLETED", "FAILED", "RUNNING"), strict=True)],
        [
            _told_task_run(TASKS[0], RUNS[0]),
            _told_task_run(TASKS[1], None),
            SetTaskRunState(
                caller=CALLER, id=TASKS[0], state=proposed("COMPLETED", data=MARKER, cache_key="key"), force=True
            ),
            SetTaskRunState(caller=CALLER, id=TASKS[1], state=proposed("CRASHED", message=MARKER), force=True),
            WriteFlowRunInput(caller=CALLER, id=RUNS[0], input_id=UUID(int=9), key="k", value=MARKER, sender=None),
        ],
    ]


@contextmanager
def books(conninfo: str, keys: KeysInMemory, batches: list[list[Command]]) -> Iterator[Ledger]:
    """A ledger with keys in which these batches were decided."""
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    recorder = PostgresLedgerRecorder(LedgerConnection(conninfo))
    with Ledger(recorder, clock=Clock(), keyring=StoredKeys(keys)) as ledger:
        for batch in [*beginning(), *batches]:
            ledger.execute(lambda batch=batch: batch)
        yield ledger


def caught_up(conninfo: str, mapper: EventMapper) -> Any:
    """The rows that come of all events when they are carried over as they are beside a rebuild."""
    with psycopg.connect(conninfo) as connection:
        create_read_tables(connection, "beside")
        catching_up = CatchingUp(connection, "beside", frozenset(table.name for table in TABLES), 0, mapper)
        while catching_up.step():
            pass
        connection.execute("ALTER SCHEMA read RENAME TO aside")
        connection.execute("ALTER SCHEMA beside RENAME TO read")
        rows = live_rows(connection)
        connection.rollback()
        return rows


@a_few_examples
@given(batches=batches)
def test_rows_are_those_of_the_events_with_and_without_the_keys(conninfo: str, batches: list[list[Command]]) -> None:
    keys = KeysInMemory()
    with books(conninfo, keys, batches) as ledger:
        for id in (*RUNS, *TASKS):
            # What is in memory is what the events add up to.
            known = ledger.cached(id)
            stored = ledger.recorder.select_events(id)
            if known is not None and stored:
                assert fields(replay(EventMapper(StoredKeys(keys)), id, stored)) == fields(known)
    check_ledger(conninfo, EventMapper(StoredKeys(keys)))
    with psycopg.connect(conninfo) as connection:
        rows, stored = live_rows(connection), stored_events(connection)
    assert caught_up(conninfo, EventMapper(StoredKeys(keys))) == rows
    runs = [run for run, _ in streams(stored, EventMapper(ErasedKeys())) if isinstance(run, Run)]
    erased = {run.id for run in runs if run.is_erased}
    for name in ("flow_run_documents", "task_run_documents", "flow_run_states", "task_run_states", "flow_run_inputs"):
        for row in rows[name]:
            owner = row.get("flow_run_id") or row.get("task_run_id") or row["id"]
            assert UUID(owner) not in erased or MARKER not in row["doc"]
    # A key goes once all that it sealed was erased.
    needed = {run.payload_key for run in runs if not (run.is_erased or run.deleted)}
    for id in keys.keys.keys() - needed:
        keys.destroy(id)
    check_ledger(conninfo, EventMapper(StoredKeys(keys)))


def fields(aggregate: Any) -> dict[str, Any]:
    names = {name for kind in type(aggregate).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(aggregate, name) for name in names}


@a_few_examples
@given(batches=batches)
def test_a_run_without_its_key_folds_to_what_it_folds_to_with_its_payload_erased(
    conninfo: str, batches: list[list[Command]]
) -> None:
    keys = KeysInMemory()
    with books(conninfo, keys, batches):
        pass
    with psycopg.connect(conninfo) as connection:
        stored = stored_events(connection)
    for run, stream in streams(stored, EventMapper(StoredKeys(keys))):
        if not isinstance(run, Run):
            continue
        kind: type[PayloadErased] = FlowRunPayloadErased if run.kind == "Flow run" else TaskRunPayloadErased
        run.apply(
            kind(originator_id=run.id, originator_version=run.version + 1, recorded_at=run.updated, actor="somebody")
        )
        without = replay(EventMapper(ErasedKeys()), run.id, stream)
        differing = {"version", "updated", "is_erased", "last_refusal"}
        assert {name: value for name, value in fields(without).items() if name not in differing} == {
            name: value for name, value in fields(run).items() if name not in differing
        }
        assert MARKER not in str(fields(run))


def test_what_lasted_no_time_leaves_no_row_behind_when_its_run_is_erased(conninfo: str) -> None:
    keys = KeysInMemory()
    again = SetFlowRunState(caller=CALLER, id=RUNS[0], state=proposed("SCHEDULED"), force=True)
    with books(conninfo, keys, [[ErasePayload(caller=CALLER, id=RUNS[0]), again]]):
        check_ledger(conninfo, EventMapper(StoredKeys(keys)))
