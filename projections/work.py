"""What can be read of work pools, queues and workers, and what is kept of those who were heard of: telemetry.

Names are resolved here only to read; what a command names is resolved under the ledger lock. Limits and offsets are
numbers of documents. All times are the database's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.ids import new_id
from domain.work_pool import AGENT_POOL
from projections.filters import WorkerFilter, WorkPoolFilter, WorkQueueFilter
from projections.filters.condition import EVERY_ROW, Condition, Operator, compare, joined
from projections.filters.criteria import Entity
from projections.lists import LAST_ROW, json_array
from projections.work_documents import IS_ONLINE, POOL_DOCUMENT, QUEUE_DOCUMENT, WORKER_DOCUMENT

POOLS = sql.SQL("read.work_pools")
QUEUES = sql.SQL("read.work_queues")
WORKERS = sql.SQL("telemetry.workers")

READ_POOL = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE name = %s").format(POOL_DOCUMENT, POOLS)
READ_QUEUE = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE id = %s").format(QUEUE_DOCUMENT, QUEUES)

FIND_QUEUE = """
SELECT queue.id FROM read.work_queues AS queue JOIN read.work_pools AS pool ON pool.id = queue.work_pool_id
WHERE pool.name = %s AND queue.name = %s
"""

QUEUES_OF_DEPLOYMENT = sql.SQL(
    "SELECT {} FROM read.work_queues"
    " CROSS JOIN (SELECT id AS deployment_id, tags, work_queue_id FROM read.deployments WHERE id = %s) AS deployment"
    " CROSS JOIN LATERAL (SELECT work_queues.doc::jsonb -> 'filter' AS asked) AS filter"
    " WHERE work_queues.id = work_queue_id OR (jsonb_typeof(asked) = 'object'"
    " AND (jsonb_typeof(asked -> 'tags') = 'null' OR to_jsonb(tags) @> (asked -> 'tags'))"
    " AND (jsonb_typeof(asked -> 'deployment_ids') = 'null' OR asked -> 'deployment_ids' ? deployment_id::text))"
    " ORDER BY work_queues.name, work_queues.id"
).format(QUEUE_DOCUMENT)

NOTE_POLLS = """
INSERT INTO telemetry.polls (id, last_polled) SELECT id, now() FROM unnest(%s::uuid[]) AS polled(id) ORDER BY id
ON CONFLICT (id) DO UPDATE SET last_polled = excluded.last_polled
"""

NOTE_POOL_POLLED = """
INSERT INTO telemetry.polls (id, last_polled) SELECT id, now() FROM read.work_queues
WHERE work_pool_id = %(pool)s AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s)) ORDER BY id
ON CONFLICT (id) DO UPDATE SET last_polled = excluded.last_polled
"""

NOTE_HEARTBEAT = """
INSERT INTO telemetry.workers AS known
    (id, work_pool_id, name, created, last_heartbeat_time, heartbeat_interval_seconds)
VALUES (%s, %s, %s, now(), now(), %s)
ON CONFLICT (work_pool_id, name) DO UPDATE SET last_heartbeat_time = excluded.last_heartbeat_time,
    heartbeat_interval_seconds = coalesce(excluded.heartbeat_interval_seconds, known.heartbeat_interval_seconds)
"""

FORGET_WORKER = "DELETE FROM telemetry.workers WHERE work_pool_id = %s AND name = %s RETURNING id"


TELL_LOST = sql.SQL("SELECT count(*) FILTER (WHERE {online}), count(*) FILTER (WHERE NOT {online}) FROM {workers}")

FORGET_GONE = """
DELETE FROM telemetry.workers
WHERE last_heartbeat_time < %s OR work_pool_id NOT IN (SELECT id FROM read.work_pools)
"""


async def find_pool(connection: AsyncConnection, name: str) -> UUID | None:
    """The id of the work pool of that name, or None."""
    row = await (await connection.execute("SELECT id FROM read.work_pools WHERE name = %s", [name])).fetchone()
    return row[0] if row else None


async def find_queue(connection: AsyncConnection, pool_name: str, name: str) -> UUID | None:
    """The id of the queue of that name in the pool of that name, or None."""
    row = await (await connection.execute(FIND_QUEUE, [pool_name, name])).fetchone()
    return row[0] if row else None


async def read_pool(connection: AsyncConnection, name: str) -> bytes | None:
    """The document of the work pool of that name, or None."""
    return await _bytes(connection, READ_POOL, [name])


async def read_pools(
    connection: AsyncConnection, work_pools: WorkPoolFilter | None = None, *, limit: int, offset: int = 0
) -> bytes:
    """The documents of the work pools that fit, by name, as a JSON array."""
    return await _list(connection, POOL_DOCUMENT, POOLS, _where(work_pools), "name, id", limit, offset)


async def count_pools(connection: AsyncConnection, work_pools: WorkPoolFilter | None = None) -> int:
    """How many work pools fit."""
    where = _where(work_pools)
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(POOLS, where.text)
    row = await (await connection.execute(statement, where.values)).fetchone()
    return row[0] if row else 0


async def read_queue(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a work queue, or None."""
    return await _bytes(connection, READ_QUEUE, [id])


async def read_queue_by_name(connection: AsyncConnection, name: str) -> bytes | None:
    """The document of the queue of that name that agents ask, or None."""
    id = await find_queue(connection, AGENT_POOL, name)
    return None if id is None else await read_queue(connection, id)


async def read_queues(
    connection: AsyncConnection,
    work_queues: WorkQueueFilter | None = None,
    *,
    pool_id: UUID | None = None,
    limit: int,
    offset: int = 0,
) -> bytes:
    """The documents of the work queues that fit as a JSON array: those of a pool by priority, or all by name."""
    where = _where(work_queues)
    if pool_id is None:
        return await _list(connection, QUEUE_DOCUMENT, QUEUES, where, "name, id", limit, offset)
    where = joined(Operator.AND, [where, compare("{} = %s", sql.Identifier("work_pool_id"), pool_id)])
    return await _list(connection, QUEUE_DOCUMENT, QUEUES, where, "priority, id", limit, offset)


async def read_queues_of_deployment(connection: AsyncConnection, id: UUID) -> bytes:
    """The documents of the queues that hand out runs of a deployment, as a JSON array: its own, others by filters."""
    return await _bytes(connection, json_array(QUEUES_OF_DEPLOYMENT), [id]) or b"[]"


async def read_workers(
    connection: AsyncConnection,
    pool_id: UUID,
    workers: WorkerFilter | None = None,
    *,
    limit: int,
    offset: int = 0,
) -> bytes:
    """The documents of the workers of a pool that fit as a JSON array, those heard of last first."""
    of_pool = compare("{} = %s", sql.Identifier("work_pool_id"), pool_id)
    where = joined(Operator.AND, [_where(workers), of_pool])
    return await _list(connection, WORKER_DOCUMENT, WORKERS, where, "last_heartbeat_time DESC, name", limit, offset)


async def note_heartbeat(connection: AsyncConnection, pool_id: UUID, name: str, interval: int | None) -> None:
    """A worker of a pool said that it is there, and perhaps after how many seconds it will again."""
    await connection.execute(NOTE_HEARTBEAT, [new_id(), pool_id, name, interval])


async def forget_worker(connection: AsyncConnection, pool_id: UUID, name: str) -> bool:
    """Forget a worker; whether there was one of that name."""
    return await (await connection.execute(FORGET_WORKER, [pool_id, name])).fetchone() is not None


async def count_workers(connection: AsyncConnection) -> tuple[int, int]:
    """How many workers are online, and how many are not."""
    statement = TELL_LOST.format(online=IS_ONLINE, workers=WORKERS)
    row: tuple[int, int] | None = await (await connection.execute(statement)).fetchone()
    return row or (0, 0)


async def forget_gone(connection: AsyncConnection, before: datetime) -> int:
    """Forget the workers that were not heard of since a time, and those of pools that are gone; how many they were."""
    return (await connection.execute(FORGET_GONE, [before])).rowcount


async def note_polls(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Someone asked these queues or deployments for runs."""
    await connection.execute(NOTE_POLLS, [list(ids)])


async def note_pool_polled(connection: AsyncConnection, pool_id: UUID, names: Sequence[str] | None) -> None:
    """Someone asked the queues of these names in a pool, or all that it has, for runs."""
    await connection.execute(NOTE_POOL_POLLED, {"pool": pool_id, "names": None if names is None else list(names)})


def _where(filter: Entity | None) -> Condition:
    return EVERY_ROW if filter is None else filter.condition()


async def _list(
    connection: AsyncConnection,
    document: sql.Composable,
    rows: sql.Composable,
    where: Condition,
    order: str,
    limit: int,
    offset: int,
) -> bytes:
    statement = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT %s OFFSET %s").format(
        document, rows, where.text, sql.SQL(order)
    )
    return await _bytes(connection, json_array(statement), [*where.values, limit, min(offset, LAST_ROW)]) or b"[]"


async def _bytes(connection: AsyncConnection, statement: sql.Composed, values: Sequence[Any]) -> bytes | None:
    row = await (await connection.execute(statement, values, binary=True)).fetchone()
    return row[0] if row else None
