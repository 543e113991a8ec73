"""Filling read tables in bulk: streams of events folded one by one, their rows written by COPY."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import Connection, ServerCursor, sql

from domain.events import Event, EventMapper
from domain.ledger import aggregate_of
from projections.projectors import project
from projections.rows import Row
from projections.tables import READ, TABLES, Table

FETCHED_AT_ONCE = 5_000
"""How many events are fetched from the database in one go."""

STREAMS_AT_ONCE = 500
"""How many streams are folded before their rows are written."""

_BY_NAME = {table.name: table for table in TABLES}

_STREAMS = """
SELECT originator_id, originator_version, topic, convert_to(state, 'UTF8') FROM ledger.events
WHERE originator_id >= %(first)s AND (%(behind)s::uuid IS NULL OR originator_id < %(behind)s)
ORDER BY originator_id, originator_version
"""


def copy_rows(connection: Connection, rows: Mapping[str, Iterable[Row]], schema: str = READ) -> None:
    """Write rows, by the name of their read table, which must not hold rows of the same keys."""
    for name, written in rows.items():
        table = _BY_NAME[name]
        columns = [column for column, _ in table.columns]
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(schema, name), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(_types(table))
            in_order = itemgetter(*columns)
            for row in written:
                copy.write_row(in_order(row))


def project_streams(
    read_from: Connection,
    write_to: Connection,
    first: UUID,
    behind: UUID | None = None,
    *,
    schema: str = READ,
    tables: Container[str] = frozenset(_BY_NAME),
    mapper: EventMapper | None = None,
) -> int:
    """Write the rows of all streams whose ids are `first` or later and before `behind`; give the number of events.

    Rows are written into these tables of the schema. The connections must be two, for one is read while the other is
    written; `read_from` must be in a transaction.
    """
    number = 0
    with read_from.cursor("streams", binary=True) as cursor:
        cursor.execute(_STREAMS, {"first": first, "behind": behind})
        streams = (
            list(stream)
            for _, stream in groupby(_decoded(cursor, mapper or EventMapper()), key=attrgetter("originator_id"))
        )
        # Streams are let go of one by one: to have many in memory took as long again as to fold them.
        for first_of_some in streams:
            rows: dict[str, list[Row]] = {}
            for events in chain([first_of_some], islice(streams, STREAMS_AT_ONCE - 1)):
                number += len(events)
                for name, made in project([aggregate_of(events)], events).written.items():
                    if name in tables:
                        rows.setdefault(name, []).extend(made)
            copy_rows(write_to, rows, schema)
    return number


def _decoded(cursor: ServerCursor, mapper: EventMapper) -> Iterator[Event]:
    decode = mapper.to_domain_event
    while rows := cursor.fetchmany(FETCHED_AT_ONCE):
        for columns in rows:
            yield decode(StoredEvent(*columns))


def _types(table: Table) -> list[Any]:
    return [{"integer": "int4", "double precision": "float8", "bigint": "int8"}.get(t, t) for _, t in table.columns]
