"""Which runs workers and agents get when they ask, and who holds the slots of queues and pools.

What is handed out has a free slot of its queue and of its pool: as many runs as are left of both limits when those that
are pending or running are taken off. A run is handed out until it is pending. Paused pools and queues give nothing. All
times are the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.work_queue import QueueFilter
from projections.documents import as_json
from projections.estimates import FLOW_RUN_DOCUMENT
from projections.filters.condition import Condition, Operator, joined
from projections.filters.criteria import AnyOrAllTagsOfRun, AnyOrNoId
from projections.filters.flow_runs import FlowRunFilter
from projections.lists import LAST_ROW, json_array
from projections.work_documents import OCCUPIED_OF_POOL, OCCUPIED_OF_QUEUE, OCCUPYING, POLLED_SECONDS, TIME

HELD = [type.value for type in OCCUPYING]

IN_POOL = sql.SQL(
    'concat(\'{{"work_pool_id":"\', pool_id, \'","work_queue_id":"\', work_queue_id, \'","flow_run":\', {}, \'}}\')'
).format(FLOW_RUN_DOCUMENT)
"""A run as workers get it."""

FREE_IN_QUEUE = sql.SQL(
    "CASE WHEN work_queues.concurrency_limit IS NOT NULL THEN greatest(work_queues.concurrency_limit - {}, 0) END"
).format(OCCUPIED_OF_QUEUE)

FREE_IN_POOL = sql.SQL(
    "(SELECT CASE WHEN concurrency_limit IS NOT NULL THEN greatest(concurrency_limit - {}, 0) END"
    " FROM read.work_pools WHERE work_pools.id = %(pool)s)"
).format(OCCUPIED_OF_POOL)

WAITING = (
    "state_type = 'SCHEDULED' AND NOT retries_in_process"
    " AND (%(before)s::timestamptz IS NULL OR next_scheduled_start_time <= %(before)s)"
    " AND (%(after)s::timestamptz IS NULL OR next_scheduled_start_time >= %(after)s)"
)

# Each queue is cut to its free slots before the pool is, or one that is full would take the places of others.
IN_TURN = sql.SQL(
    "SELECT {document} FROM (SELECT waiting.*, priority, pool.id AS pool_id"
    " FROM read.work_pools AS pool JOIN read.work_queues ON work_queues.work_pool_id = pool.id"
    " CROSS JOIN LATERAL (SELECT * FROM read.flow_runs WHERE flow_runs.work_queue_id = work_queues.id AND {waiting}"
    " ORDER BY next_scheduled_start_time, id LIMIT least(%(limit)s, {free_in_queue})) AS waiting"
    " WHERE pool.id = %(pool)s AND NOT pool.is_paused AND NOT work_queues.is_paused"
    " AND (%(queues)s::uuid[] IS NULL OR work_queues.id = ANY(%(queues)s))"
    " ORDER BY priority, next_scheduled_start_time, waiting.id LIMIT least(%(limit)s, {free_in_pool})"
    ") AS flow_runs JOIN read.flow_run_documents USING (id) ORDER BY priority, next_scheduled_start_time, id"
)


def _in_turn(document: sql.Composable) -> sql.Composed:
    return json_array(
        IN_TURN.format(
            document=document, waiting=sql.SQL(WAITING), free_in_queue=FREE_IN_QUEUE, free_in_pool=FREE_IN_POOL
        )
    )


FOR_WORKERS = _in_turn(IN_POOL)
FOR_AGENTS = _in_turn(FLOW_RUN_DOCUMENT)

QUEUES_NAMED = "SELECT name, id FROM read.work_queues WHERE work_pool_id = %s AND name = ANY(%s)"

QUEUE = "SELECT work_pool_id, is_paused, concurrency_limit, doc::json ->> 'filter' FROM read.work_queues WHERE id = %s"

STATUS = sql.SQL(
    "SELECT (SELECT count(*) FROM read.flow_runs WHERE work_queue_id = work_queues.id AND state_type = 'SCHEDULED'"
    " AND state_name = 'Late'), last_polled, coalesce(last_polled >= now() - {} * interval '1 second', false)"
    " FROM read.work_queues LEFT JOIN telemetry.polls USING (id) WHERE id = %s"
).format(sql.Literal(POLLED_SECONDS))

HOLDER = sql.SQL(
    'concat(\'{{"id":"\', id, \'","name":\', to_json(name), \',"state_type":\', to_json(state_type),'
    " ',\"state_name\":', to_json(state_name), ',\"start_time\":', {start}, ',\"state_timestamp\":', {since},"
    " ',\"time_in_current_state\":', date_part('epoch', now() - state_timestamp), '}}')"
).format(
    start=sql.SQL(TIME).format(sql.SQL("start_time")),
    since=sql.SQL(TIME).format(sql.SQL("state_timestamp")),
)
HOLDERS = sql.SQL(
    "SELECT {} FROM read.flow_runs WHERE work_queue_id = %s AND state_type = ANY(%s) ORDER BY id LIMIT %s OFFSET %s"
).format(HOLDER)


@dataclass(frozen=True)
class Asked:
    """What someone asks for: runs that are due between two times, at most so many."""

    limit: int
    before: datetime | None = None
    after: datetime | None = None


async def read_scheduled(
    connection: AsyncConnection, pool_id: UUID, queues: Sequence[UUID] | None, asked: Asked
) -> bytes:
    """What a worker gets of a pool, or of these queues of it, as a JSON array: by priority of the queue, then time."""
    return await _array(connection, FOR_WORKERS, _values(pool_id, queues, asked))


async def queues_named(connection: AsyncConnection, pool_id: UUID, names: Sequence[str]) -> dict[str, UUID]:
    """The ids of those queues of a pool that there are, by name."""
    rows = await (await connection.execute(QUEUES_NAMED, [pool_id, list(names)])).fetchall()
    return dict(rows)


async def read_runs_of_queue(connection: AsyncConnection, id: UUID, asked: Asked) -> bytes | None:
    """What an agent gets of a queue as a JSON array of runs, by time; None where there is no such queue.

    A queue with a filter hands out runs of deployments that fit it, wherever they are.
    """
    row = await (await connection.execute(QUEUE, [id])).fetchone()
    if row is None:
        return None
    pool_id, is_paused, concurrency_limit, filter = row
    if filter is None:
        return await _array(connection, FOR_AGENTS, _values(pool_id, [id], asked))
    if is_paused:
        return b"[]"
    return await _read_filtered(connection, QueueFilter.model_validate_json(filter), concurrency_limit, asked)


async def _read_filtered(
    connection: AsyncConnection, filter: QueueFilter, concurrency_limit: int | None, asked: Asked
) -> bytes:
    fit = FlowRunFilter(
        tags=AnyOrAllTagsOfRun(all_=filter.tags), deployment_id=AnyOrNoId(any_=filter.deployment_ids, is_null_=False)
    ).condition()
    due = sql.SQL("next_scheduled_start_time <= coalesce(%s, 'infinity'::timestamptz) AND NOT retries_in_process")
    scheduled = Condition(sql.SQL("state_type = 'SCHEDULED'"))
    where = joined(Operator.AND, [scheduled, Condition(due, (asked.before,)), fit])
    statement = sql.SQL(
        "SELECT {} FROM (SELECT * FROM read.flow_runs WHERE {} ORDER BY next_scheduled_start_time, id"
        " LIMIT least(%s, CASE WHEN %s::integer IS NOT NULL THEN"
        " greatest(%s - (SELECT count(*) FROM read.flow_runs WHERE state_type = ANY(%s) AND {}), 0) END))"
        " AS flow_runs JOIN read.flow_run_documents USING (id) ORDER BY next_scheduled_start_time, id"
    ).format(FLOW_RUN_DOCUMENT, where.text, fit.text)
    values = [*where.values, asked.limit, concurrency_limit, concurrency_limit, HELD, *fit.values]
    return await _array(connection, json_array(statement), values)


async def read_queue_status(connection: AsyncConnection, id: UUID) -> bytes | None:
    """Whether a queue is healthy: someone asked it for runs lately, and none is late; None where there is no queue."""
    row = await (await connection.execute(STATUS, [id])).fetchone()
    if row is None:
        return None
    late, last_polled, polled_lately = row
    policy = {"maximum_late_runs": 0, "maximum_seconds_since_last_polled": POLLED_SECONDS}
    return as_json(
        {
            "healthy": polled_lately and not late,
            "late_runs_count": late,
            "last_polled": last_polled,
            "health_check_policy": policy,
        }
    )


async def read_queue_slots(connection: AsyncConnection, id: UUID, *, limit: int, page: int) -> bytes | None:
    """How many slots of a queue are taken, and one page of the runs that hold them; None where there is no queue."""
    row = await (await connection.execute(QUEUE, [id])).fetchone()
    if row is None:
        return None
    taken = await _count(connection, id)
    holders = await _array(connection, json_array(HOLDERS), [id, HELD, limit, min((page - 1) * limit, LAST_ROW)])
    head = as_json({"active_slots": taken, "concurrency_limit": row[2], **_page(taken, limit, page)})
    return b'%s,"flow_runs":%s}' % (head[:-1], holders)


async def read_pool_slots(
    connection: AsyncConnection, name: str, *, limit: int, page: int, flow_run_limit: int
) -> bytes | None:
    """How many slots of a pool are taken, and one page of its queues, each with the first runs that hold its slots."""
    pools = await connection.execute(
        sql.SQL(
            "SELECT id, concurrency_limit, {},"
            " (SELECT count(*) FROM read.work_queues WHERE work_pool_id = work_pools.id)"
            " FROM read.work_pools WHERE name = %s"
        ).format(OCCUPIED_OF_POOL),
        [name],
    )
    pool = await pools.fetchone()
    if pool is None:
        return None
    queues = await connection.execute(
        "SELECT id, name, concurrency_limit FROM read.work_queues WHERE work_pool_id = %s"
        " ORDER BY priority, id LIMIT %s OFFSET %s",
        [pool[0], limit, min((page - 1) * limit, LAST_ROW)],
    )
    parts = []
    for id, queue_name, queue_limit in await queues.fetchall():
        taken = await _count(connection, id)
        facts = {"queue_id": id, "queue_name": queue_name, "active_slots": taken, "concurrency_limit": queue_limit}
        head = as_json({**facts, "flow_run_count": taken})
        holders = await _array(connection, json_array(HOLDERS), [id, HELD, flow_run_limit, 0])
        parts.append(b'%s,"flow_runs":%s}' % (head[:-1], holders))
    head = as_json({"active_slots": pool[2], "concurrency_limit": pool[1], **_page(pool[3], limit, page)})
    return b'%s,"queues":[%s]}' % (head[:-1], b",".join(parts))


def _page(count: int, limit: int, page: int) -> dict[str, int]:
    return {"count": count, "limit": limit, "pages": -(-count // limit) if limit else 0, "page": page}


async def _count(connection: AsyncConnection, queue_id: UUID) -> int:
    statement = "SELECT count(*) FROM read.flow_runs WHERE work_queue_id = %s AND state_type = ANY(%s)"
    row = await (await connection.execute(statement, [queue_id, HELD])).fetchone()
    return row[0] if row else 0


def _values(pool_id: UUID, queues: Sequence[UUID] | None, asked: Asked) -> dict[str, Any]:
    return {
        "pool": pool_id,
        "queues": None if queues is None else list(queues),
        "before": asked.before,
        "after": asked.after,
        "limit": asked.limit,
    }


async def _array(connection: AsyncConnection, statement: sql.Composed, values: Any) -> bytes:
    row = await (await connection.execute(statement, values, binary=True)).fetchone()
    return row[0] if row else b"[]"
