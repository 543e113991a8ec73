"""Who waits for task runs in the background: telemetry, for those who look whether anybody does."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection

SEEN_WITHIN_SECONDS = 30
"""For how long a worker counts as there after it was last seen: its server may have died with it."""

SEE = """
INSERT INTO telemetry.task_workers (connection, identifier, task_keys, seen) VALUES (%s, %s, %s, now())
ON CONFLICT (connection) DO UPDATE SET seen = excluded.seen
"""

FORGET = "DELETE FROM telemetry.task_workers WHERE connection = %s OR seen < now() - interval '1 hour'"

READ = """
SELECT coalesce(json_agg(json_build_object(
    'identifier', identifier, 'task_keys', task_keys,
    'timestamp', to_char(seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) ORDER BY identifier), '[]')::text
FROM telemetry.task_workers
WHERE seen >= now() - make_interval(secs => %s) AND (%s::text[] IS NULL OR task_keys && %s)
"""


async def see_task_worker(connection: AsyncConnection, id: UUID, identifier: str, task_keys: Sequence[str]) -> None:
    """Take note that a worker is there, on the connection with that id."""
    await connection.execute(SEE, [id, identifier, list(task_keys)], prepare=True)


async def forget_task_worker(connection: AsyncConnection, id: UUID) -> None:
    """Take note that a worker went."""
    await connection.execute(FORGET, [id], prepare=True)


async def read_task_workers(connection: AsyncConnection, task_keys: Sequence[str] | None) -> bytes:
    """The workers that are there, as a JSON array; with task keys, those that wait for runs of one of these."""
    keys = list(task_keys) if task_keys else None
    row = await (await connection.execute(READ, [SEEN_WITHIN_SECONDS, keys, keys])).fetchone()
    return row[0].encode() if row else b"[]"
