"""From events to read rows: pure functions, the same inline with an append and in a rebuild.

A row is a function of one stream: of the aggregate that its events add up to, or, for the history of states and for
inputs, of one event. Names of other things are joined when rows are read, never copied into them.

The rows of a run whose payload was erased are made of its events without payload, whether or not the key is there yet.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from domain.aggregate import Aggregate
from domain.block_document import BlockDocument
from domain.block_schema import BlockSchema
from domain.block_type import BlockType
from domain.concurrency_limit import ConcurrencyLimit
from domain.deployment import Deployment
from domain.events import Event, EventMapper
from domain.flow import Flow
from domain.flow_run import FlowRun, FlowRunInputDeleted, FlowRunInputWritten, FlowRunStateSet
from domain.keys import short
from domain.notification_policy import NotificationPolicy
from domain.payloads import ErasedKeys, without_payload
from domain.run import PayloadErased, Run
from domain.saved_search import SavedSearch
from domain.states import State, StateType
from domain.task_run import TaskRun, TaskRunStateReported, TaskRunStateSet
from domain.variable import Variable
from domain.work_pool import WorkPool
from domain.work_queue import WorkQueue
from projections.dependencies import dependency_columns
from projections.documents import (
    as_json,
    deployment_document,
    flow_document,
    flow_run_document,
    flow_run_input_document,
    task_run_document,
    work_pool_document,
    work_queue_document,
)
from projections.interval_rows import project_intervals
from projections.kept_rows import kept_document, kept_row
from projections.rows import Row, RowChanges
from projections.slot_rows import limit_row, project_slots
from projections.tables import (
    BACKGROUND_RUNS,
    BLOCK_DOCUMENTS,
    BLOCK_SCHEMAS,
    BLOCK_TYPES,
    CACHED_RESULTS,
    CONCURRENCY_LIMITS,
    CONCURRENCY_SLOTS,
    DEPLOYMENTS,
    FLOW_RUN_DOCUMENTS,
    FLOW_RUN_INPUTS,
    FLOW_RUN_INTERVALS,
    FLOW_RUN_STATES,
    FLOW_RUNS,
    FLOWS,
    NOTIFICATION_POLICIES,
    SAVED_SEARCHES,
    SNAPSHOTS,
    TABLES,
    TASK_RUN_DOCUMENTS,
    TASK_RUN_STATES,
    TASK_RUNS,
    VARIABLES,
    WORK_POOLS,
    WORK_QUEUES,
    Table,
)
from projections.tag_keys import keys_of_tags

TABLES_OF: dict[type[Aggregate], tuple[Table, ...]] = {
    Flow: (FLOWS,),
    Deployment: (DEPLOYMENTS,),
    ConcurrencyLimit: (CONCURRENCY_LIMITS, CONCURRENCY_SLOTS, SNAPSHOTS),
    FlowRun: (FLOW_RUNS, FLOW_RUN_DOCUMENTS, FLOW_RUN_STATES, FLOW_RUN_INPUTS, FLOW_RUN_INTERVALS),
    Variable: (VARIABLES,),
    SavedSearch: (SAVED_SEARCHES,),
    BlockType: (BLOCK_TYPES,),
    BlockSchema: (BLOCK_SCHEMAS,),
    BlockDocument: (BLOCK_DOCUMENTS,),
    WorkPool: (WORK_POOLS,),
    WorkQueue: (WORK_QUEUES,),
    NotificationPolicy: (NOTIFICATION_POLICIES,),
    TaskRun: (TASK_RUNS, TASK_RUN_DOCUMENTS, TASK_RUN_STATES, CACHED_RESULTS, BACKGROUND_RUNS),
}
"""The tables that hold rows of a kind of stream; the first holds one row for the aggregate itself."""

OUTLIVE_THEIR_STREAM = frozenset({FLOW_RUN_INTERVALS.name})
"""The tables whose rows stay when what they are of is deleted, for they are asked what was. In an archive, all goes."""


MADE_OF_WHOLE_STREAMS = frozenset(
    {FLOW_RUN_STATES, FLOW_RUN_INPUTS, FLOW_RUN_INTERVALS, TASK_RUN_STATES, CACHED_RESULTS}
)
"""The tables that hold several rows of a run: they are all made anew where it is looked at all its events again."""


_NAMES = tuple(table.name for table in TABLES)


def project(aggregates: Iterable[Aggregate], events: Iterable[Event]) -> RowChanges:
    """The row changes that follow from events, given their aggregates as they stand after all of them.

    Where they tell of an erasure, all events of the stream must be among them (`with_whole_streams`).
    """
    streams: dict[UUID, list[Event]] = {}
    for event in events:
        streams.setdefault(event.originator_id, []).append(event)
    changes = RowChanges()
    for aggregate in sorted(aggregates, key=lambda aggregate: aggregate.id.int):
        project_stream(changes, aggregate, streams[aggregate.id])
    # The same tables are always written by the same statement, whichever of the aggregates came first.
    changes.written = {name: changes.written[name] for name in _NAMES if name in changes.written}
    return changes


def project_stream(changes: RowChanges, aggregate: Aggregate, events: list[Event]) -> None:
    """Add the row changes that follow from events of one stream, in their order, to others."""
    tables = TABLES_OF[type(aggregate)]
    in_archive = isinstance(aggregate, Run) and aggregate.archive_id is not None
    if isinstance(aggregate, FlowRun) and not in_archive:
        project_intervals(changes, aggregate, events[0].originator_version)
    if isinstance(aggregate, Run) and aggregate.is_erased:
        events = _without_payload(changes, aggregate, events)
    if aggregate.deleted:
        for table in tables:
            if in_archive or table.name not in OUTLIVE_THEIR_STREAM:
                changes.remove(table, aggregate.id)
        return
    changes.write(tables[0], row_of(aggregate))
    if isinstance(aggregate, FlowRun):
        changes.write(FLOW_RUN_DOCUMENTS, {"id": aggregate.id, "doc": flow_run_document(aggregate).decode()})
        if FlowRunInputDeleted in map(type, events):
            _rewrite_inputs(changes, aggregate)
            events = [event for event in events if type(event) is not FlowRunInputWritten]
    elif isinstance(aggregate, TaskRun):
        changes.write(TASK_RUN_DOCUMENTS, {"id": aggregate.id, "doc": task_run_document(aggregate).decode()})
        if aggregate.flow_run_id is None:
            _project_waiting(changes, aggregate)
    elif isinstance(aggregate, ConcurrencyLimit):
        project_slots(changes, aggregate, events)
    for event in events:
        if (project_event := _OF_EVENTS.get(type(event))) is not None:
            project_event(changes, event)


def with_whole_streams(
    events: Sequence[Event], read: Callable[[Iterable[UUID]], Mapping[UUID, Sequence[StoredEvent]]]
) -> Sequence[Event]:
    """The events; of streams in which payload is erased all that there are, for all their rows are made anew.

    `read` gives the events that are stored already, by stream. Their payload is not looked at.
    """
    erased = {event.originator_id for event in events if isinstance(event, PayloadErased)}
    if not erased:
        return events
    decode = EventMapper(ErasedKeys()).to_domain_event
    first: dict[UUID, int] = {}
    for event in events:
        first.setdefault(event.originator_id, event.originator_version)
    earlier: list[Event] = [
        event
        for stored in read(erased).values()
        for event in map(decode, stored)
        if event.originator_version < first[event.originator_id]
    ]
    return [*earlier, *events]


def _without_payload(changes: RowChanges, run: Run, events: list[Event]) -> list[Event]:
    """The events of an erased run without payload and without a result for others; rows made of it before go."""
    if any(isinstance(event, PayloadErased) for event in events):
        for table in TABLES_OF[type(run)]:
            if table in MADE_OF_WHOLE_STREAMS:
                changes.remove(table, run.id)
    return [_erased(event) for event in events]


def _erased(event: Event) -> Event:
    if isinstance(event, TaskRunStateSet) and event.caches_result:
        event = event.model_copy(update={"caches_result": None})
    return without_payload(event)


def row_of(aggregate: Aggregate) -> Row:
    """The row of an aggregate in the first of its tables."""
    match aggregate:
        case FlowRun():
            return {
                "flow_id": aggregate.flow_id,
                "parent_task_run_id": aggregate.parent_task_run_id,
                "deployment_id": aggregate.deployment_id,
                "idempotency_key": aggregate.idempotency_key,
                "flow_version": aggregate.flow_version,
                "work_queue_name": aggregate.work_queue_name,
                "work_queue_id": aggregate.work_queue_id,
                "retries_in_process": aggregate.empirical_policy.retry_type == "in_process",
                "pause_timeout": _pause_timeout(aggregate),
                "begin_time": aggregate.start_time or aggregate.expected_start_time,
                **_run_columns(aggregate),
            }
        case TaskRun():
            return {
                "flow_run_id": aggregate.flow_run_id,
                "flow_id": aggregate.flow_id,
                **dependency_columns(aggregate.task_inputs),
                **_run_columns(aggregate),
            }
        case ConcurrencyLimit():
            return limit_row(aggregate)
        case Flow():
            return {
                "id": aggregate.id,
                "name": aggregate.name,
                "tags": aggregate.tags,
                "created": aggregate.created,
                "updated": aggregate.updated,
                "doc": document_of(aggregate).decode(),
            }
        case Deployment():
            return {
                "id": aggregate.id,
                "flow_id": aggregate.flow_id,
                "name": aggregate.name,
                "tags": aggregate.settings.tags,
                "created": aggregate.created,
                "updated": aggregate.updated,
                "paused": aggregate.settings.paused,
                "work_queue_name": aggregate.settings.work_queue_name,
                "work_queue_id": aggregate.settings.work_queue_id,
                "concurrency_limit": aggregate.settings.concurrency_limit,
                "version": aggregate.version,
                "scheduled": aggregate.is_scheduled,
                "doc": document_of(aggregate).decode(),
            }
        case Variable() | SavedSearch() | BlockType() | BlockSchema() | BlockDocument() | NotificationPolicy():
            return kept_row(aggregate)
        case WorkPool():
            return {
                "id": aggregate.id,
                "name": aggregate.name,
                "type": aggregate.type,
                "is_paused": aggregate.settings.is_paused,
                "concurrency_limit": aggregate.settings.concurrency_limit,
                "created": aggregate.created,
                "updated": aggregate.updated,
                "doc": document_of(aggregate).decode(),
            }
        case WorkQueue():
            return {
                "id": aggregate.id,
                "work_pool_id": aggregate.work_pool_id,
                "name": aggregate.name,
                "priority": aggregate.settings.priority,
                "is_paused": aggregate.settings.is_paused,
                "concurrency_limit": aggregate.settings.concurrency_limit,
                "created": aggregate.created,
                "updated": aggregate.updated,
                "doc": document_of(aggregate).decode(),
            }
        case _:
            raise TypeError(f"No read table holds a row for a {aggregate.kind.lower()}")


def document_of(aggregate: Aggregate) -> bytes:
    """The document of an aggregate, less what is joined to it when it is read."""
    match aggregate:
        case FlowRun():
            return flow_run_document(aggregate)
        case TaskRun():
            return task_run_document(aggregate)
        case Flow():
            return flow_document(aggregate)
        case Deployment():
            return deployment_document(aggregate)
        case Variable() | SavedSearch() | BlockType() | BlockSchema() | BlockDocument() | NotificationPolicy():
            return kept_document(aggregate)
        case WorkPool():
            return work_pool_document(aggregate)
        case WorkQueue():
            return work_queue_document(aggregate)
        case _:
            raise TypeError(f"There is no document of a {aggregate.kind.lower()}")


def _pause_timeout(run: FlowRun) -> datetime | None:
    if run.state is None or run.state.type is not StateType.PAUSED:
        return None
    return run.state.state_details.pause_timeout


def _project_waiting(changes: RowChanges, run: TaskRun) -> None:
    """The row of a run in the background is there only while the run waits for a subscriber."""
    scheduled_time = run.waits_until
    if scheduled_time is None:
        changes.drop(BACKGROUND_RUNS, {"task_run_id": run.id})
        return
    changes.write(
        BACKGROUND_RUNS,
        {
            "task_run_id": run.id,
            "task_key": run.task_key,
            "scheduled_time": scheduled_time,
            "held_until": run.handed_out.expires_at if run.handed_out else None,
        },
    )


def _project_flow_run_state(changes: RowChanges, event: FlowRunStateSet) -> None:
    changes.write(FLOW_RUN_STATES, _state_row("flow_run_id", event, event.state))


def _project_task_run_state(changes: RowChanges, event: TaskRunStateSet) -> None:
    changes.write(TASK_RUN_STATES, _state_row("task_run_id", event, event.state))
    if event.caches_result:
        changes.write(CACHED_RESULTS, _cached_row(event))


def _project_reported_state(changes: RowChanges, event: TaskRunStateReported) -> None:
    changes.write(TASK_RUN_STATES, _state_row("task_run_id", event, event.state))


def _project_input(changes: RowChanges, event: FlowRunInputWritten) -> None:
    changes.write(FLOW_RUN_INPUTS, _input_row(event))


_OF_EVENTS: dict[type[Event], Callable[[RowChanges, Any], None]] = {
    FlowRunStateSet: _project_flow_run_state,
    FlowRunInputWritten: _project_input,
    TaskRunStateSet: _project_task_run_state,
    TaskRunStateReported: _project_reported_state,
}
"""How the rows of single events are written, by their type: asking for one after the other took longer than that."""


def _cached_row(event: TaskRunStateSet) -> Row:
    return {
        "task_run_id": event.originator_id,
        "version": event.originator_version,
        "cache_key": short(event.state.state_details.cache_key or ""),
        "cached_at": event.recorded_at,
    }


def _run_columns(run: Run) -> Row:
    state = run.state
    return {
        "id": run.id,
        "name": run.name,
        "tags": run.tags,
        "tag_keys": keys_of_tags(run.tags),
        "created": run.created,
        "state_id": state.id if state else None,
        "state_type": state.type.value if state else None,
        "state_name": state.name if state else None,
        "state_timestamp": state.timestamp if state else None,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "expected_start_time": run.expected_start_time,
        "next_scheduled_start_time": run.next_scheduled_start_time,
        "total_run_time": run.total_run_time,
    }


def _rewrite_inputs(changes: RowChanges, run: FlowRun) -> None:
    """Rows go by streams: where one input of a run was deleted, the rows of those it has left are written anew."""
    changes.remove(FLOW_RUN_INPUTS, run.id)
    for written in run.inputs.values():
        changes.write(FLOW_RUN_INPUTS, _input_row(written))


def _input_row(written: FlowRunInputWritten) -> Row:
    return {
        "flow_run_id": written.originator_id,
        "version": written.originator_version,
        "key": written.key,
        "doc": flow_run_input_document(written).decode(),
    }


def _state_row(owner: str, event: Event, state: State) -> Row:
    return {
        owner: event.originator_id,
        "version": event.originator_version,
        "id": state.id,
        "name": state.name,
        "timestamp": state.timestamp,
        "doc": as_json(state).decode(),
    }
