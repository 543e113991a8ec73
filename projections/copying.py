"""Filling read tables in bulk: streams of events folded one by one, their rows written by COPY."""

from collections.abc import Container, Iterator
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any
from uuid import UUID

from psycopg import Connection, ServerCursor

from domain.aggregate import Aggregate
from domain.events import Event, EventMapper
from domain.ledger import aggregate_of
from projections.copied_rows import copy_rows
from projections.projectors import project_stream
from projections.rows import RowChanges
from projections.tables import READ, TABLES

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


def folded_streams(
    connection: Connection, first: UUID, behind: UUID | None = None, mapper: EventMapper | None = None
) -> Iterator[tuple[Aggregate, list[Event]]]:
    """The aggregates of all streams whose ids are `first` or later and before `behind`, each with all its events.

    The connection must be in a transaction.
    """
    decode = (mapper or EventMapper()).event_of
    with connection.cursor("streams", binary=True) as cursor:
        cursor.execute(_STREAMS, {"first": first, "behind": behind})
        # Streams are let go of one by one: to have many in memory took as long again as to fold them.
        for _, stream in groupby(_fetched(cursor), key=itemgetter(0)):
            events: list[Event] = [decode(*columns) for columns in stream]
            yield aggregate_of(events), events


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
    """Write the rows of streams into these tables of the schema; give the number of events.

    Which streams is said as for `folded_streams`. The connections must be two: one is read while the other is written.
    """
    number = 0
    streams = folded_streams(read_from, first, behind, mapper)
    for first_of_some in streams:
        changes = RowChanges()
        for aggregate, events in chain([first_of_some], islice(streams, STREAMS_AT_ONCE - 1)):
            number += len(events)
            project_stream(changes, aggregate, events)
        for name, rows in changes.of(tables).written.items():
            copy_rows(write_to, _BY_NAME[name], rows, schema)
    return number


def _fetched(cursor: ServerCursor) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(FETCHED_AT_ONCE):
        yield from rows
