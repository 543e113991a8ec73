"""What can be read of concurrency limits: one, by its id or its name, a list, and who holds slots.

How many slots are in use is computed when it is read: leases that have run out hold none, and slots that decay come
free with time. All times are the database's.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.orchestration.limit_rules import TAG
from projections.limit_documents import HOLDER_DOCUMENT, LIMIT_DOCUMENT, TAG_LIMIT_DOCUMENT
from projections.lists import LAST_ROW, json_array

RUN_OUT = """
SELECT DISTINCT limit_id FROM read.concurrency_slots
WHERE expires_at <= now() AND (%(limit)s::uuid IS NULL OR limit_id = %(limit)s) LIMIT 1000
"""

LIMITS = sql.SQL("read.concurrency_limits")
ONE = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE {} = %s")
LIST = sql.SQL("SELECT {} FROM {} WHERE starts_with(name, %s) ORDER BY name LIMIT %s OFFSET %s")
READ_HOLDERS = json_array(
    sql.SQL("SELECT {} FROM read.concurrency_slots WHERE limit_id = %s ORDER BY since, holding").format(HOLDER_DOCUMENT)
)


async def find_limit(connection: AsyncConnection, limit: UUID | str) -> tuple[UUID, str] | None:
    """The id and the name of a limit, by either."""
    column = "id" if isinstance(limit, UUID) else "name"
    statement = sql.SQL("SELECT id, name FROM {} WHERE {} = %s").format(LIMITS, sql.Identifier(column))
    row: tuple[UUID, str] | None = await (await connection.execute(statement, [limit])).fetchone()
    return row


async def read_limit(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a limit, or None."""
    return await _bytes(connection, ONE.format(LIMIT_DOCUMENT, LIMITS, sql.Identifier("id")), [id])


async def read_tag_limit(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a limit on a tag, or None."""
    return await _bytes(connection, ONE.format(TAG_LIMIT_DOCUMENT, LIMITS, sql.Identifier("id")), [id])


async def read_limits(connection: AsyncConnection, *, limit: int, offset: int) -> bytes:
    """The documents of limits, by name, as a JSON array."""
    rows = json_array(LIST.format(LIMIT_DOCUMENT, LIMITS))
    return await _bytes(connection, rows, ["", limit, min(offset, LAST_ROW)]) or b"[]"


async def read_tag_limits(connection: AsyncConnection, *, limit: int, offset: int) -> bytes:
    """The documents of limits on tags, by name, as a JSON array."""
    rows = json_array(LIST.format(TAG_LIMIT_DOCUMENT, LIMITS))
    return await _bytes(connection, rows, [TAG, limit, min(offset, LAST_ROW)]) or b"[]"


async def read_holders(connection: AsyncConnection, id: UUID) -> bytes:
    """Who holds slots of a limit, since when and until when, oldest first, as a JSON array."""
    return await _bytes(connection, READ_HOLDERS, [id]) or b"[]"


async def limits_with_expired_leases(connection: AsyncConnection, id: UUID | None = None) -> list[UUID]:
    """Those limits, or that one, on which a lease has run out and nobody has said so yet."""
    rows = await (await connection.execute(RUN_OUT, {"limit": id})).fetchall()
    return [row[0] for row in rows]


async def _bytes(connection: AsyncConnection, statement: sql.Composed, values: Sequence[Any]) -> bytes | None:
    row = await (await connection.execute(statement, values, binary=True)).fetchone()
    return row[0] if row else None
