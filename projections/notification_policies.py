"""What can be read of notification policies."""

from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.lists import LAST_ROW, json_array

DOCUMENT = sql.SQL(
    "CASE WHEN %(whole)s AND block_document_id IS NULL"
    ' THEN replace(doc, \'"block_document_id":null\', \'"block_document_id":"00000000-0000-0000-0000-000000000000"\')'
    " ELSE doc END"
)
"""For who cannot do without the id of a block, that of none where a policy has a url instead."""

READ = sql.SQL("SELECT convert_to({}, 'UTF8') FROM read.notification_policies WHERE id = %(id)s").format(DOCUMENT)

LIST = json_array(
    sql.SQL(
        "SELECT {} FROM read.notification_policies WHERE %(is_active)s::boolean IS NULL OR is_active = %(is_active)s"
        " ORDER BY id LIMIT %(limit)s OFFSET %(offset)s"
    ).format(DOCUMENT)
)

READ_SEALED = "SELECT signing_secret FROM read.notification_policies WHERE id = %s"


async def read_policy(connection: AsyncConnection, id: UUID, *, whole: bool) -> bytes | None:
    """The document of a policy, or None; where it must be `whole`, with the id of a block in any case."""
    row = await (await connection.execute(READ, {"id": id, "whole": whole}, binary=True)).fetchone()
    return bytes(row[0]) if row else None


async def read_policies(
    connection: AsyncConnection, is_active: bool | None, *, whole: bool, limit: int, offset: int
) -> bytes:
    """The documents of policies in order of their ids, as a JSON array: of all, or of those that are active or not."""
    asked = {"is_active": is_active, "whole": whole, "limit": limit, "offset": min(offset, LAST_ROW)}
    row = await (await connection.execute(LIST, asked, binary=True)).fetchone()
    return bytes(row[0]) if row else b"[]"


async def read_signing_secret(connection: AsyncConnection, id: UUID) -> str | None:
    """The secret that deliveries by a policy are signed with, as it is kept: encrypted."""
    row = await (await connection.execute(READ_SEALED, [id])).fetchone()
    return row[0] if row else None
