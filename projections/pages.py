"""What the pages of clients show beside lists: runs as dots, and counts for many flows or flow runs at once.

Shapes are those of server 3.9.1.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.states import TERMINAL, StateType
from projections.columns import AS_TIME
from projections.counted import states_by_count
from projections.documents import as_json
from projections.estimates import ESTIMATED_RUN_TIME, ESTIMATED_START_TIME_DELTA, TASK_RUN_DOCUMENT
from projections.filters.condition import Condition, Operator, joined
from projections.filters.related import Filters, flow_runs_where, task_runs_where
from projections.lists import Page, Source, read_page
from projections.sorting import FlowRunSort

DASHBOARD_BUCKETS = 20
"""Into how many parts the activity of task runs is divided. Source: server 3.9.1."""

_FAILED = (StateType.CRASHED, StateType.FAILED)

DOT = sql.SQL(
    'concat(\'{{"id":"\', id, \'","state_type":\', to_json(state_type), \',"timestamp":\', {begin},'
    " ',\"duration\":', {duration}, ',\"lateness\":', {lateness}, '}}')"
).format(
    begin=sql.SQL(AS_TIME).format(column=sql.SQL("begin_time")),
    duration=ESTIMATED_RUN_TIME,
    lateness=ESTIMATED_START_TIME_DELTA,
)
DOTS = Source("flow_runs", DOT)

COUNT_TASK_RUNS = """
SELECT wanted.id, (
    SELECT count(*) FROM read.task_runs WHERE flow_run_id = wanted.id
        AND NOT EXISTS (SELECT 1 FROM read.flow_runs AS subflow WHERE subflow.parent_task_run_id = task_runs.id)
) FROM unnest(%s::uuid[]) AS wanted(id)
"""

COUNT_DEPLOYMENTS = """
SELECT wanted.id, (SELECT count(*) FROM read.deployments WHERE flow_id = wanted.id)
FROM unnest(%s::uuid[]) AS wanted(id)
"""

NEXT_RUNS = """
SELECT wanted.id, next.id, next.name, next.state_name, next.state_type, next.next_scheduled_start_time
FROM unnest(%s::uuid[]) AS wanted(id)
LEFT JOIN LATERAL (
    SELECT * FROM read.flow_runs WHERE flow_id = wanted.id AND state_type = 'SCHEDULED'
        AND next_scheduled_start_time IS NOT NULL
    ORDER BY next_scheduled_start_time, id LIMIT 1
) AS next ON true
"""

READ_TASK_RUN = (
    sql.SQL(
        "SELECT convert_to(concat('{{\"flow_run_name\":', coalesce((SELECT to_json(name)::text FROM read.flow_runs"
        " WHERE flow_runs.id = task.flow_run_id), 'null'), ',', right(task.document, -1)), 'UTF8')"
        " FROM (SELECT flow_run_id, {} AS document FROM read.task_runs JOIN read.task_run_documents USING (id)"
        " WHERE id = %s) AS task"
    )
    .format(TASK_RUN_DOCUMENT)
    .as_string(None)
)


async def read_dots(
    connection: AsyncConnection, *, sort: FlowRunSort, limit: int, offset: int, **filters: Unpack[Filters]
) -> bytes:
    """When flow runs that fit began, how long they took and how late they were, as a JSON array."""
    has_state = Condition(sql.SQL("state_type IS NOT NULL"))
    where = joined(Operator.AND, [flow_runs_where(filters), has_state])
    return (await read_page(connection, DOTS, where, sort, Page(limit, offset))).documents


async def count_task_runs_of(connection: AsyncConnection, flow_run_ids: Sequence[UUID]) -> dict[str, int]:
    """How many task runs each flow run has, less those that stand for subflows."""
    return await _numbers(connection, COUNT_TASK_RUNS, flow_run_ids)


async def count_deployments_of(connection: AsyncConnection, flow_ids: Sequence[UUID]) -> dict[str, int]:
    """How many deployments each flow has."""
    return await _numbers(connection, COUNT_DEPLOYMENTS, flow_ids)


async def next_runs_of(connection: AsyncConnection, flow_ids: Sequence[UUID]) -> bytes:
    """The flow run of each flow that is scheduled next, or null, as a JSON object."""
    rows = await (await connection.execute(NEXT_RUNS, [list(flow_ids)])).fetchall()
    names = ("id", "name", "state_name", "state_type", "next_scheduled_start_time")
    return as_json(
        {
            str(flow_id): None if run[0] is None else {"flow_id": flow_id, **dict(zip(names, run, strict=True))}
            for flow_id, *run in rows
        }
    )


async def read_task_run(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a task run with the name of its flow run, or None."""
    row = await (await connection.execute(READ_TASK_RUN, [id], binary=True)).fetchone()
    return row[0] if row else None


async def count_task_runs_by_state(connection: AsyncConnection, **filters: Unpack[Filters]) -> dict[str, int]:
    """How many task runs that fit are in a state of each type."""
    asked = states_by_count("task_runs", task_runs_where(filters), filters)
    statement = sql.SQL("{}").format(asked.text)
    rows = await (await connection.execute(statement, asked.values, prepare=False)).fetchall()
    return {**dict.fromkeys((type.value for type in StateType), 0), **dict(rows)}


async def read_activity(
    connection: AsyncConnection, *, start: datetime, end: datetime, **filters: Unpack[Filters]
) -> list[dict[str, int]]:
    """How many task runs that fit and began in each twentieth of a time have completed, and how many failed."""
    where = task_runs_where(filters)
    ended = sql.SQL(", ").join(sql.Literal(type.value) for type in sorted(TERMINAL))
    failed = sql.SQL(", ").join(sql.Literal(type.value) for type in _FAILED)
    statement = sql.SQL(
        "SELECT width_bucket(extract(epoch FROM start_time), extract(epoch FROM %s::timestamptz),"
        " extract(epoch FROM %s::timestamptz), {buckets}) AS bucket,"
        " count(*) FILTER (WHERE state_type NOT IN ({failed})), count(*) FILTER (WHERE state_type IN ({failed}))"
        " FROM read.task_runs WHERE start_time >= %s AND start_time < %s AND state_type IN ({ended}) AND {where}"
        " GROUP BY bucket"
    ).format(buckets=sql.Literal(DASHBOARD_BUCKETS), failed=failed, ended=ended, where=where.text)
    rows = await (await connection.execute(statement, [start, end, start, end, *where.values])).fetchall()
    activity = [{"completed": 0, "failed": 0} for _ in range(DASHBOARD_BUCKETS)]
    for bucket, completed, failures in rows:
        activity[bucket - 1] = {"completed": completed, "failed": failures}
    return activity


async def _numbers(connection: AsyncConnection, statement: str, ids: Sequence[UUID]) -> dict[str, int]:
    rows: list[tuple[Any, ...]] = await (await connection.execute(statement, [list(ids)])).fetchall()
    return {str(id): number for id, number in rows}
