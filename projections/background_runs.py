"""The task runs in the background that wait for somebody to run them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

WAITING = """
SELECT task_run_id FROM read.background_runs
WHERE task_key = ANY(%s) AND scheduled_time <= %s AND (held_until IS NULL OR held_until <= %s)
ORDER BY scheduled_time, task_run_id LIMIT %s
"""


async def waiting_runs(connection: AsyncConnection, task_keys: Sequence[str], now: datetime, limit: int) -> list[UUID]:
    """The runs of tasks with these keys whose time has come and that nobody has, in the order of their time."""
    cursor = await connection.execute(WAITING, [list(task_keys), now, now, limit], prepare=True)
    return [row[0] for row in await cursor.fetchall()]
