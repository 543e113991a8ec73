"""Wherever payload is erased, the read tables equal what the events make, while the key is there and afterwards."""

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
batches = st.lists(
    st.lists(st.one_of(telling, telling, commands, erasures), min_size=1, max_size=8), min_size=1, max_size=6
)


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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches)
def test_rows_are_those_of_the_events_with_and_without_the_keys(conninfo: str, batches: list[list[Command]]) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    keys = KeysInMemory()
    ring = StoredKeys(keys)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock(), keyring=ring) as ledger:
        for batch in [[CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})], *batches]:
            ledger.execute(lambda batch=batch: batch)
        for id in (*RUNS, *TASKS):
            # What is in memory is what the events add up to.
            known = ledger.cached(id)
            stored = ledger.recorder.select_events(id)
            if known is not None and stored:
                assert fields(replay(EventMapper(StoredKeys(keys)), id, stored)) == fields(known)
    check_ledger(conninfo, EventMapper(StoredKeys(keys)))
    with psycopg.connect(conninfo) as connection:
        in_use = live_rows(connection)
        # So a reader of all events finds nothing where a run was erased.
        stored_now = stored_events(connection)
    assert caught_up(conninfo, EventMapper(StoredKeys(keys))) == in_use
    erased = {
        run.id for run, _ in streams(stored_now, EventMapper(ErasedKeys())) if isinstance(run, Run) and run.is_erased
    }
    for id in erased & keys.keys.keys():
        keys.destroy(id)
    check_ledger_of_erased(conninfo, keys, erased)
    for table in in_use.values():
        for row in table:
            if any(str(id) in map(str, row.values()) for id in erased) and "doc" in row:
                owner = row.get("flow_run_id") or row.get("task_run_id") or row.get("id")
                assert UUID(owner) not in erased or MARKER not in row["doc"]


def check_ledger_of_erased(conninfo: str, keys: KeysInMemory, erased: set[UUID]) -> None:
    """The same law once keys are gone: of flow runs whose task runs were all erased with them."""
    with psycopg.connect(conninfo) as connection:
        stored = stored_events(connection)
    found = [run for run, _ in streams(stored, EventMapper(StoredKeys(keys))) if isinstance(run, Run)]
    if all(run.is_erased or run.deleted or keys.keys.get(run.payload_key or run.id, b"") is not None for run in found):
        check_ledger(conninfo, EventMapper(StoredKeys(keys)))


def fields(aggregate: Any) -> dict[str, Any]:
    names = {name for kind in type(aggregate).__mro__ for name in getattr(kind, "__slots__", ())}
    return {name: getattr(aggregate, name) for name in names}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches)
def test_a_run_without_its_key_folds_to_what_it_folds_to_with_its_payload_erased(
    conninfo: str, batches: list[list[Command]]
) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(statements.clear([table.name for table in TABLES]))
        connection.execute(statements.NEW_IDENTITY)
    keys = KeysInMemory()
    ring = StoredKeys(keys)
    with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock(), keyring=ring) as ledger:
        for batch in [[CreateFlow(caller=CALLER, id=FLOWS[0], name="f", tags=[], labels={})], *batches]:
            ledger.execute(lambda batch=batch: batch)
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
