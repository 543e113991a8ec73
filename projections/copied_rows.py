"""Rows on their way into COPY, in its binary format.

Ids and arrays are turned into bytes here, and go through the driver as `bytea`, for it knows no shorter way; all else
is the driver's. Source of the format: the page of COPY, and the functions `uuid_recv` and `array_recv`, of PostgreSQL.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter, itemgetter
from struct import Struct
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from projections.rows import Row
from projections.tables import Table

_OF_TEXT, _OF_UUIDS = 25, 2950
"""The numbers by which PostgreSQL knows the types of an array's elements (`pg_type.dat`)."""

_NAMES = {"integer": "int4", "double precision": "float8", "bigint": "int8"}
_dimensions = Struct(">iiiii").pack
_length = Struct(">i").pack


def copy_rows(connection: Connection, table: Table, rows: Iterable[Row], schema: str) -> None:
    """Write rows into a read table of a schema, which must not hold rows of the same keys."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column, _ in table.columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(schema, table.name), columns)
    in_order = itemgetter(*(column for column, _ in table.columns))
    as_bytes = [(place, _AS_BYTES[type]) for place, (_, type) in enumerate(table.columns) if type in _AS_BYTES]
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(["bytea" if type in _AS_BYTES else _NAMES.get(type, type) for _, type in table.columns])
        for row in rows:
            values = list(in_order(row))
            for place, to_bytes in as_bytes:
                if (value := values[place]) is not None:
                    values[place] = to_bytes(value)
            copy.write_row(values)


def _texts(values: list[str]) -> bytes:
    return _array(_OF_TEXT, [value.encode() for value in values])


def _uuids(values: list[UUID]) -> bytes:
    return _array(_OF_UUIDS, [value.bytes for value in values])


def _array(of: int, elements: list[bytes]) -> bytes:
    if not elements:
        return _dimensions(0, 0, of, 0, 0)[:12]
    head = _dimensions(1, 0, of, len(elements), 1)
    return head + b"".join([part for element in elements for part in (_length(len(element)), element)])


_AS_BYTES: dict[str, Callable[[Any], bytes]] = {"uuid": attrgetter("bytes"), "text[]": _texts, "uuid[]": _uuids}
