"""Filling read tables in bulk: streams of events folded one by one, their rows written by COPY."""

from collections.abc import Iterable, Mapping
from itertools import groupby, islice
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import Connection, sql

from domain.events import Event, EventMapper
from domain.ledger import replay
from projections.projectors import project
from projections.rows import Row
from projections.tables import TABLES, Table

STREAMS_AT_ONCE = 500
"""How many streams are folded before their rows are written."""

_BY_NAME = {table.name: table for table in TABLES}

_STREAMS = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id >= %s AND originator_id < %s ORDER BY originator_id, originator_version
"""


def copy_rows(connection: Connection, rows: Mapping[str, Iterable[Row]]) -> None:
    """Write rows, by the name of their read table, which must not hold rows of the same keys."""
    for name, written in rows.items():
        table = _BY_NAME[name]
        columns = [column for column, _ in table.columns]
        statement = sql.SQL("COPY read.{} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(_types(table))
            for row in written:
                copy.write_row([row[column] for column in columns])


def project_streams(read_from: Connection, write_to: Connection, first: UUID, behind: UUID | None = None) -> int:
    """Write the read rows of all streams whose ids are `first` or later and before `behind`; give their number.

    The connections must be two, for one is read while the other is written; `read_from` must be in a transaction.
    """
    mapper = EventMapper()
    number = 0
    with read_from.cursor("streams") as cursor:
        cursor.itersize = 20_000
        cursor.execute(_STREAMS, [first, behind or UUID(int=2**128 - 1)])
        stored = (StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in cursor)
        streams = (list(stream) for _, stream in groupby(stored, key=lambda event: event.originator_id))
        while some := list(islice(streams, STREAMS_AT_ONCE)):
            rows: dict[str, list[Row]] = {}
            for stream in some:
                aggregate = replay(mapper, UUID(str(stream[0].originator_id)), stream)
                events: list[Event] = [mapper.to_domain_event(event) for event in stream]
                for name, made in project([aggregate], events).written.items():
                    rows.setdefault(name, []).extend(made)
            copy_rows(write_to, rows)
            number += len(some)
    return number


def _types(table: Table) -> list[Any]:
    return [{"integer": "int4", "double precision": "float8", "bigint": "int8"}.get(t, t) for _, t in table.columns]
