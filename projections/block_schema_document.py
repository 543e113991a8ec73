"""The document by which the API shows a block schema: with its type, which is joined when it is read."""

from psycopg import sql

SCHEMA_DOCUMENT = sql.SQL(
    "concat('{{\"block_type\":', (SELECT kind.doc FROM read.block_types AS kind WHERE kind.id = block_type_id),"
    " ',', right(block_schemas.doc, -1))"
).format()
"""From a row of its read table."""
