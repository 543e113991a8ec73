"""What can be read of the inputs of flow runs: the value under one key, and a list by what keys begin with."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.lists import json_array

READ_VALUE = """
SELECT convert_to(doc::json ->> 'value', 'UTF8') FROM read.flow_run_inputs WHERE flow_run_id = %s AND key = %s
"""
LIST = json_array(
    sql.SQL(
        "SELECT doc FROM read.flow_run_inputs"
        " WHERE flow_run_id = %s AND starts_with(key, %s) AND key <> ALL(%s::text[]) ORDER BY version LIMIT %s"
    )
)


async def read_input_value(connection: AsyncConnection, flow_run_id: UUID, key: str) -> bytes | None:
    """The value that was written under a key, to the letter, in UTF-8; None where there is none."""
    cursor = await connection.execute(READ_VALUE, [flow_run_id, key], binary=True)
    row = await cursor.fetchone()
    return row[0] if row else None


async def read_inputs(
    connection: AsyncConnection, flow_run_id: UUID, *, prefix: str, limit: int, exclude_keys: Sequence[str]
) -> bytes:
    """The first inputs of a run whose keys begin like this and are not excluded, oldest first, as a JSON array."""
    cursor = await connection.execute(LIST, [flow_run_id, prefix, list(exclude_keys), limit], binary=True)
    row = await cursor.fetchone()
    return row[0] if row else b"[]"
