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
from projections.lists import Page, Source, array_of, read_documents
from projections.payload_keys.store import StoredKeys
from projections.queries import PAGE_SIZE
from projections.sealed_logs import marked, opened, seal_lines
from projections.sorting import LogSort

LOG_DOCUMENT = sql.SQL(
    "json_build_object('id', id, 'created', {created}, 'updated', {created}, 'name', name, 'level', level,"
    " 'message', message, 'timestamp', {timestamp}, 'flow_run_id', flow_run_id, 'task_run_id', task_run_id)::text"
).format(
    created=sql.SQL("""to_char(created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
    timestamp=sql.SQL("""to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""),
)

LOGS = Source("logs", marked(LOG_DOCUMENT), schema="telemetry")

FOLLOWED = sql.SQL("SELECT {}, id, {} FROM telemetry.logs WHERE {} ORDER BY {}, id LIMIT %s")

WRITE_LOGS = """
INSERT INTO telemetry.logs (id, created, name, level, message, timestamp, flow_run_id, task_run_id, sealed_under)
SELECT id, now(), name, level, message, timestamp, flow_run_id, task_run_id, sealed_under
FROM json_to_recordset(%s) AS line(
    id uuid, name text, level integer, message text, timestamp timestamptz, flow_run_id uuid, task_run_id uuid,
    sealed_under uuid
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


async def write_logs(
    connection: AsyncConnection, logs: Sequence[LogCreate], ids: Sequence[UUID], ring: StoredKeys | None = None
) -> None:
    """Keep the lines under these ids, sealed where their runs have keys on the ring; again changes nothing."""
    lines = [{"id": id, **log.model_dump()} for id, log in zip(ids, logs, strict=True)]
    if ring is not None:
        await seal_lines(connection, lines, ring)
    await connection.execute(WRITE_LOGS, [Json(lines, dumps=to_json)], prepare=True)


async def read_logs(
    connection: AsyncConnection,
    logs: LogFilter | None = None,
    *,
    sort: LogSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    ring: StoredKeys | None = None,
) -> bytes:
    """The lines that fit the filter, as a JSON array; oldest first if no sort is given. Raises PayloadKeysMissing."""
    where = EVERY_ROW if logs is None else logs.condition()
    found = await read_documents(connection, LOGS, where, sort or LogSort.TIMESTAMP_ASC, Page(limit, offset))
    return array_of(await opened(found, ring))


async def read_old_logs(
    connection: AsyncConnection,
    logs: LogFilter,
    limit: int,
    after: tuple[datetime, UUID] | None,
    before: int,
    ring: StoredKeys | None = None,
) -> tuple[list[bytes], tuple[datetime, UUID] | None]:
    """The lines that fit, oldest first, of transactions before a horizon's; and the place of the last of them.

    `after` is the place of the last line that the caller has.
    """
    conditions = [logs.condition(), Condition(sql.SQL("written_by < %s::text::xid8"), (before,))]
    if after is not None:
        conditions.append(Condition(sql.SQL("(timestamp, id) > (%s, %s)"), after))
    where = joined(Operator.AND, conditions)
    statement = FOLLOWED.format(sql.SQL("timestamp"), LOGS.document, where.text, sql.SQL("timestamp"))
    rows = await (await connection.execute(statement, [*where.values, limit], prepare=False)).fetchall()
    return await opened([row[2].encode() for row in rows], ring), (rows[-1][:2] if rows else after)


async def read_new_logs(
    connection: AsyncConnection,
    logs: LogFilter,
    limit: int,
    after: tuple[int, UUID],
    before: int,
    ring: StoredKeys | None = None,
) -> tuple[list[bytes], tuple[int, UUID]]:
    """The lines that fit, in the order of writing, of transactions from a place on and before a horizon's.

    The place behind the last of them is given, too: that of the horizon where no more lines are left before it.
    """
    window = Condition(
        sql.SQL("(written_by, id) > (%s::text::xid8, %s) AND written_by < %s::text::xid8"), (*after, before)
    )
    where = joined(Operator.AND, [window, logs.condition()])
    place = sql.SQL("written_by::text::bigint")
    statement = FOLLOWED.format(place, LOGS.document, where.text, sql.SQL("written_by"))
    rows = await (await connection.execute(statement, [*where.values, limit], prepare=False)).fetchall()
    reached = rows[-1][:2] if len(rows) == limit else (before, UUID(int=0))
    return await opened([row[2].encode() for row in rows], ring), reached
