"""Log lines, as clients send them and ask for them back. They are telemetry: no event, no state, no rule."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.types.json import Json
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from domain.ids import new_id
from domain.times import Time
from projections.filters import LogFilter
from projections.filters.condition import EVERY_ROW, Condition, Operator, joined
from projections.lists import Page, Source, read_page
from projections.queries import PAGE_SIZE
from projections.sorting import LogSort

LOG_DOCUMENT = sql.SQL(
    "json_build_object('id', id, 'created', {created}, 'updated', {created}, 'name', name, 'level', level,"
    " 'message', message, 'timestamp', {timestamp}, 'flow_run_id', flow_run_id, 'task_run_id', task_run_id)::text"
).format(
    created=sql.SQL("""to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
    timestamp=sql.SQL("""to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
)

LOGS = Source("logs", LOG_DOCUMENT, schema="telemetry")

FOLLOWED = sql.SQL("SELECT {}, id, {} FROM telemetry.logs WHERE {} ORDER BY {}, id LIMIT %s")

WRITE_LOGS = """
INSERT INTO telemetry.logs (id, created, name, level, message, timestamp, flow_run_id, task_run_id)
SELECT id, now(), name, level, message, timestamp, flow_run_id, task_run_id
FROM json_to_recordset(%s) AS line(
    id uuid, name text, level integer, message text, timestamp timestamptz, flow_run_id uuid, task_run_id uuid
)
ON CONFLICT (id) DO NOTHING
"""


class LogCreate(BaseModel):
    """One log line as a client sends it; `timestamp` is the client's time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    level: int = Field(ge=-(2**31), lt=2**31)
    message: str
    timestamp: Time
    flow_run_id: UUID | None = None
    task_run_id: UUID | None = None


def ids_for(logs: Sequence[LogCreate]) -> list[UUID]:
    """New ids for lines, in their order: ids decide between lines of the same timestamp."""
    # Ids made within one millisecond do not sort by themselves.
    return sorted(new_id() for _ in logs)


async def write_logs(connection: AsyncConnection, logs: Sequence[LogCreate], ids: Sequence[UUID]) -> None:
    """Keep the lines under these ids; doing it again changes nothing."""
    lines = [{"id": id, **log.model_dump()} for id, log in zip(ids, logs, strict=True)]
    await connection.execute(WRITE_LOGS, [Json(lines, dumps=to_json)], prepare=True)


async def read_logs(
    connection: AsyncConnection,
    logs: LogFilter | None = None,
    *,
    sort: LogSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
) -> bytes:
    """The lines that fit the filter, as a JSON array; oldest first if no sort is given."""
    where = EVERY_ROW if logs is None else logs.condition()
    listed = await read_page(connection, LOGS, where, sort or LogSort.TIMESTAMP_ASC, Page(limit, offset))
    return listed.documents


async def read_old_logs(
    connection: AsyncConnection, logs: LogFilter, limit: int, after: tuple[datetime, UUID] | None, before: int
) -> tuple[list[bytes], tuple[datetime, UUID] | None]:
    """The lines that fit, oldest first, of transactions before a horizon's; and the place of the last of them.

    `after` is the place of the last line that the caller has.
    """
    conditions = [logs.condition(), Condition(sql.SQL("written_by < %s::text::xid8"), (before,))]
    if after is not None:
        conditions.append(Condition(sql.SQL("(timestamp, id) > (%s, %s)"), after))
    where = joined(Operator.AND, conditions)
    statement = FOLLOWED.format(sql.SQL("timestamp"), LOG_DOCUMENT, where.text, sql.SQL("timestamp"))
    rows = await (await connection.execute(statement, [*where.values, limit], prepare=False)).fetchall()
    return [row[2].encode() for row in rows], (rows[-1][:2] if rows else after)


async def read_new_logs(
    connection: AsyncConnection, logs: LogFilter, limit: int, after: tuple[int, UUID], before: int
) -> tuple[list[bytes], tuple[int, UUID]]:
    """The lines that fit, in the order of writing, of transactions from a place on and before a horizon's.

    The place behind the last of them is given, too: that of the horizon where no more lines are left before it.
    """
    window = Condition(
        sql.SQL("(written_by, id) > (%s::text::xid8, %s) AND written_by < %s::text::xid8"), (*after, before)
    )
    where = joined(Operator.AND, [window, logs.condition()])
    place = sql.SQL("written_by::text::bigint")
    statement = FOLLOWED.format(place, LOG_DOCUMENT, where.text, sql.SQL("written_by"))
    rows = await (await connection.execute(statement, [*where.values, limit], prepare=False)).fetchall()
    reached = rows[-1][:2] if len(rows) == limit else (before, UUID(int=0))
    return [row[2].encode() for row in rows], reached
