"""What the services look for, each by an index of its own; what is found is looked at again before anything happens."""

from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.states import TERMINAL, StateType

ENDED = sql.SQL(", ").join(sql.Literal(type.value) for type in sorted(TERMINAL))

OVERDUE = """
SELECT id FROM read.flow_runs
WHERE state_type = 'SCHEDULED' AND state_name = 'Scheduled' AND next_scheduled_start_time <= %s
ORDER BY next_scheduled_start_time LIMIT %s
"""

PAUSED_TOO_LONG = "SELECT id FROM read.flow_runs WHERE pause_timeout < %s ORDER BY pause_timeout LIMIT %s"

CANCELLING = """
SELECT id FROM read.flow_runs WHERE state_type = 'CANCELLING' AND state_timestamp <= %s ORDER BY id LIMIT %s
"""

TASK_RUNS_LEFT = sql.SQL(
    "SELECT task_runs.id, flow_runs.id FROM read.flow_runs JOIN read.task_runs ON task_runs.flow_run_id = flow_runs.id"
    " WHERE flow_runs.state_type = 'CANCELLED' AND flow_runs.end_time >= %s"
    " AND (task_runs.state_type IS NULL OR task_runs.state_type NOT IN ({ended})) LIMIT %s"
).format(ended=ENDED)

SUBFLOW_RUNS_LEFT = sql.SQL(
    "SELECT child.id, flow_runs.id FROM read.flow_runs JOIN read.task_runs ON task_runs.flow_run_id = flow_runs.id"
    " JOIN read.flow_runs AS child ON child.parent_task_run_id = task_runs.id"
    " WHERE flow_runs.state_type = 'CANCELLED' AND flow_runs.end_time >= %s"
    " AND child.state_type NOT IN ({ended})"
    " AND (child.deployment_id IS NULL OR child.state_type <> {cancelling}) LIMIT %s"
).format(ended=ENDED, cancelling=sql.Literal(StateType.CANCELLING.value))

DELETE_LOGS = """
DELETE FROM telemetry.logs
WHERE id IN (SELECT id FROM telemetry.logs WHERE timestamp < %s ORDER BY timestamp LIMIT %s)
"""


async def overdue_runs(connection: AsyncConnection, due: datetime, limit: int) -> list[UUID]:
    """The flow runs that should have begun by a time, are scheduled still and not marked late."""
    return await _ids(connection, OVERDUE, due, limit)


async def runs_paused_too_long(connection: AsyncConnection, now: datetime, limit: int) -> list[UUID]:
    """The flow runs whose pause has timed out."""
    return await _ids(connection, PAUSED_TOO_LONG, now, limit)


async def runs_cancelling_since(connection: AsyncConnection, before: datetime, limit: int) -> list[UUID]:
    """The flow runs that have been about to cancel since a time or longer."""
    return await _ids(connection, CANCELLING, before, limit)


async def task_runs_left(connection: AsyncConnection, since: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Task runs that have not ended, of flow runs that were cancelled since then; each with its flow run."""
    return await _pairs(connection, TASK_RUNS_LEFT, since, limit)


async def subflow_runs_left(connection: AsyncConnection, since: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """Flow runs that still are to be cancelled, each with the flow run that began it and was cancelled since then."""
    return await _pairs(connection, SUBFLOW_RUNS_LEFT, since, limit)


async def delete_logs(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete log lines from before a time, the oldest first; how many were deleted."""
    return (await connection.execute(DELETE_LOGS, [before, limit])).rowcount


async def _ids(connection: AsyncConnection, statement: str, at: datetime, limit: int) -> list[UUID]:
    rows = await (await connection.execute(statement, [at, limit])).fetchall()
    return [row[0] for row in rows]


async def _pairs(
    connection: AsyncConnection, statement: sql.Composed, at: datetime, limit: int
) -> list[tuple[UUID, UUID]]:
    rows = await (await connection.execute(statement, [at, limit])).fetchall()
    return [(row[0], row[1]) for row in rows]
