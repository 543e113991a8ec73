"""What can be read of block types, block schemas and block documents.

Documents come sealed, with what belongs to each; who has the key puts them together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from pydantic_core import from_json

from projections.block_schema_document import SCHEMA_DOCUMENT
from projections.filters.blocks import BlockDocumentFilter, BlockSchemaFilter, BlockTypeFilter
from projections.filters.condition import Condition, Operator, exists, joined
from projections.lists import LAST_ROW, Source, json_array
from projections.sorting import BlockDocumentSort, order_of

TYPES = Source("block_types", sql.SQL("doc"))
SCHEMAS = Source("block_schemas", SCHEMA_DOCUMENT)

TYPE_OF_SCHEMA = "FROM read.block_types WHERE block_types.id = block_schemas.block_type_id"
SCHEMA_OF_TYPE = "FROM read.block_schemas WHERE block_schemas.block_type_id = block_types.id"
TYPE_OF_DOCUMENT = "FROM read.block_types WHERE block_types.id = block_documents.block_type_id"
SCHEMA_OF_DOCUMENT = "FROM read.block_schemas WHERE block_schemas.id = block_documents.block_schema_id"

_ONE = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE {}")
_LIST = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT %s OFFSET %s")
_DOCUMENTS = sql.SQL(
    "SELECT id, version, name, is_anonymous, created, updated, sealed, refers_to, block_type_id, block_schema_id,"
    " (SELECT doc FROM read.block_types AS kind WHERE kind.id = block_type_id),"
    " (SELECT {} FROM read.block_schemas WHERE block_schemas.id = block_schema_id) FROM read.block_documents"
).format(SCHEMAS.document)


@dataclass(frozen=True)
class StoredBlock:
    """A block document as it is kept: sealed data, the ids of documents in the place of fields, and what it is of.

    `block_type` and `block_schema` are JSON texts.
    """

    id: UUID
    version: int
    name: str
    is_anonymous: bool
    created: datetime
    updated: datetime
    sealed: str
    refers_to: str
    block_type_id: UUID
    block_schema_id: UUID
    block_type: str
    block_schema: str

    @property
    def references(self) -> dict[str, UUID]:
        """The ids of the documents that stand in the place of fields, by these fields."""
        return {field: UUID(id) for field, id in from_json(self.refers_to).items()}


async def read_block_type(connection: AsyncConnection, block_type: UUID | str) -> bytes | None:
    """The document of a block type, by its id or its slug, or None."""
    return await _read(connection, TYPES, "id" if isinstance(block_type, UUID) else "slug", block_type)


async def read_block_schema(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a block schema, or None."""
    return await _read(connection, SCHEMAS, "id", id)


async def read_block_schema_by_checksum(
    connection: AsyncConnection, checksum: str, version: str | None
) -> bytes | None:
    """The document of the newest block schema of a checksum, in that version if one is named, or None."""
    where = sql.SQL("checksum = %s AND (%s::text IS NULL OR version = %s) ORDER BY created DESC, id DESC LIMIT 1")
    statement = _ONE.format(SCHEMAS.document, SCHEMAS.rows, where)
    return await _bytes(connection, statement, [checksum, version, version])


async def read_block_types(
    connection: AsyncConnection,
    block_types: BlockTypeFilter | None,
    block_schemas: BlockSchemaFilter | None,
    *,
    limit: int,
    offset: int,
) -> bytes:
    """The documents of block types that fit, with a schema that fits, by name, as a JSON array."""
    of_schema = [] if block_schemas is None else [exists(SCHEMA_OF_TYPE, block_schemas.condition())]
    where = joined(Operator.AND, [*_own(block_types), *of_schema])
    return await _listed(connection, TYPES, where, "name, id", limit, offset)


async def read_block_schemas(
    connection: AsyncConnection, block_schemas: BlockSchemaFilter | None, *, limit: int, offset: int
) -> bytes:
    """The documents of block schemas that fit, newest first, as a JSON array."""
    where = joined(Operator.AND, _own(block_schemas))
    return await _listed(connection, SCHEMAS, where, "created DESC, id DESC", limit, offset)


async def read_capabilities(connection: AsyncConnection) -> bytes:
    """All that schemas are capable of, in alphabetical order, as a JSON array of texts."""
    rows = sql.SQL(
        "SELECT to_json(word)::text FROM read.block_schemas, unnest(capabilities) AS word GROUP BY word ORDER BY word"
    )
    return await _bytes(connection, json_array(rows), []) or b"[]"


def documents_where(
    block_documents: BlockDocumentFilter | None,
    block_types: BlockTypeFilter | None,
    block_schemas: BlockSchemaFilter | None,
) -> Condition:
    """The condition on block documents that fit, of a type and with a schema that fit."""
    of_type = [] if block_types is None else [exists(TYPE_OF_DOCUMENT, block_types.condition())]
    of_schema = [] if block_schemas is None else [exists(SCHEMA_OF_DOCUMENT, block_schemas.condition())]
    return joined(Operator.AND, [*_own(block_documents or BlockDocumentFilter()), *of_type, *of_schema])


async def read_block_documents(
    connection: AsyncConnection, where: Condition, sort: BlockDocumentSort, *, limit: int | None, offset: int
) -> list[StoredBlock]:
    """The block documents that fit, in that order."""
    order = sql.SQL(" WHERE {} ORDER BY {} LIMIT %s OFFSET %s").format(where.text, order_of(sort).clause)
    return await _stored(connection, _DOCUMENTS + order, [*where.values, limit, min(offset, LAST_ROW)])


async def read_block_documents_by_id(connection: AsyncConnection, ids: Iterable[UUID]) -> dict[UUID, StoredBlock]:
    """Those of the block documents that there are, and all that they refer to, directly or through others."""
    known: dict[UUID, StoredBlock] = {}
    missing = set(ids)
    while missing:
        found = await _stored(connection, _DOCUMENTS + sql.SQL(" WHERE id = ANY(%s)"), [list(missing)])
        known.update((block.id, block) for block in found)
        missing = {id for block in found for id in block.references.values()} - known.keys()
    return known


async def find_block_document(connection: AsyncConnection, slug: str, name: str) -> UUID | None:
    """The id of the block document of that name, of the type of that slug, or None."""
    statement = (
        "SELECT block_documents.id FROM read.block_documents JOIN read.block_types ON block_types.id = block_type_id"
        " WHERE slug = %s AND block_documents.name = %s"
    )
    row = await (await connection.execute(statement, [slug, name])).fetchone()
    return row[0] if row else None


async def count_block_documents(connection: AsyncConnection, where: Condition) -> int:
    """How many block documents fit."""
    statement = sql.SQL("SELECT count(*) FROM read.block_documents WHERE {}").format(where.text)
    row = await (await connection.execute(statement, where.values)).fetchone()
    return int(row[0]) if row else 0


async def ids_of_type(connection: AsyncConnection, block_type_id: UUID, *, limit: int) -> tuple[list[UUID], list[UUID]]:
    """The ids of some documents and of some schemas of a block type."""
    documents = await connection.execute(
        "SELECT id FROM read.block_documents WHERE block_type_id = %s LIMIT %s", [block_type_id, limit]
    )
    schemas = await connection.execute(
        "SELECT id FROM read.block_schemas WHERE block_type_id = %s LIMIT %s", [block_type_id, limit]
    )
    return [row[0] for row in await documents.fetchall()], [row[0] for row in await schemas.fetchall()]


def _own(filter: BlockTypeFilter | BlockSchemaFilter | BlockDocumentFilter | None) -> list[Condition]:
    return [] if filter is None else [filter.condition()]


async def _stored(connection: AsyncConnection, statement: sql.Composed, values: Sequence[Any]) -> list[StoredBlock]:
    rows = await (await connection.execute(statement, values)).fetchall()
    return [StoredBlock(*row) for row in rows]


async def _listed(
    connection: AsyncConnection, source: Source, where: Condition, order: str, limit: int, offset: int
) -> bytes:
    rows = _LIST.format(source.document, source.rows, where.text, sql.SQL(order))
    return await _bytes(connection, json_array(rows), [*where.values, limit, min(offset, LAST_ROW)]) or b"[]"


async def _read(connection: AsyncConnection, source: Source, column: str, key: UUID | str) -> bytes | None:
    statement = _ONE.format(source.document, source.rows, sql.SQL("{} = %s").format(sql.Identifier(column)))
    return await _bytes(connection, statement, [key])


async def _bytes(connection: AsyncConnection, statement: sql.Composed, values: Sequence[Any]) -> bytes | None:
    row = await (await connection.execute(statement, values, binary=True)).fetchone()
    return row[0] if row else None
