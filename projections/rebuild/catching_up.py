"""Bringing read tables beside those in use up to where the log stands, the way they would have been kept up with it."""

from collections.abc import Container, Iterable
from itertools import groupby
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import Connection

from domain.aggregate import Aggregate
from domain.events import Event, EventMapper
from domain.ledger import aggregate_of
from projections import row_statements
from projections.projectors import project, with_whole_streams

EVENTS_AT_ONCE = 500
"""How many events are carried over in one transaction."""

AGGREGATES_KEPT = 20_000
"""How many aggregates are kept in memory for their next events."""

_NEXT = """
SELECT position, originator_id, originator_version, topic, state FROM ledger.events
WHERE position > %s ORDER BY position LIMIT %s
"""
_BEFORE = """
SELECT events.originator_id, originator_version, topic, state
FROM json_to_recordset(%s) AS wanted(id uuid, version integer)
JOIN ledger.events AS events ON events.originator_id = wanted.id AND originator_version < wanted.version
ORDER BY 1, 2
"""
_WHOLE = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = ANY(%s) ORDER BY originator_id, originator_version
"""


class CatchingUp:
    """Some tables of a schema, as of a position in the log, on their way to its end.

    What they must be brought to is the same as what is written with each append, so it is made by the same projectors
    and written by the same statements.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str,
        tables: Container[str],
        position: int,
        mapper: EventMapper | None = None,
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._tables = tables
        self.position = position
        self._mapper = mapper or EventMapper()
        self._aggregates: dict[UUID, Aggregate] = {}

    def step(self) -> int:
        """Carry over the next events, in the caller's transaction or one of its own; give their number."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            rows = cursor.execute(_NEXT, [self.position, EVENTS_AT_ONCE]).fetchall()
            if not rows:
                return 0
            events: list[Event] = [
                self._mapper.to_domain_event(StoredEvent(id, version, topic, state.encode()))
                for _, id, version, topic, state in rows
            ]
            touched = self._after(events)
            changes = project(touched, with_whole_streams(events, self._streams))
            row_statements.write(cursor, changes.of(self._tables), self._schema)
        self.position = rows[-1][0]
        return len(rows)

    def go_back(self, position: int) -> None:
        """Take note that the tables are as of a position again, for what came after it was rolled back."""
        self.position = position
        self._aggregates.clear()

    def _after(self, events: list[Event]) -> list[Aggregate]:
        """The aggregates that events are of, as they stand after them."""
        first_versions: dict[UUID, int] = {}
        for event in events:
            first_versions.setdefault(event.originator_id, event.originator_version)
        if len(self._aggregates) > AGGREGATES_KEPT:
            self._aggregates.clear()
        self._load(first_versions)
        for event in events:
            known = self._aggregates.get(event.originator_id)
            if known is None:
                self._aggregates[event.originator_id] = aggregate_of([event])
            else:
                known.apply(event)
        return [self._aggregates[id] for id in first_versions]

    def _streams(self, ids: Iterable[UUID]) -> dict[UUID, list[StoredEvent]]:
        streams: dict[UUID, list[StoredEvent]] = {}
        for id, version, topic, state in self._connection.execute(_WHOLE, [list(ids)]):
            streams.setdefault(id, []).append(StoredEvent(id, version, topic, state.encode()))
        return streams

    def _load(self, first_versions: dict[UUID, int]) -> None:
        wanted = [
            {"id": id, "version": version}
            for id, version in first_versions.items()
            if id not in self._aggregates and version > 1
        ]
        rows = self._connection.execute(_BEFORE, [row_statements.as_json(wanted)]).fetchall()
        for id, stream in groupby(rows, key=lambda row: row[0]):
            stored = [StoredEvent(id, version, topic, state.encode()) for _, version, topic, state in stream]
            self._aggregates[id] = aggregate_of([self._mapper.to_domain_event(event) for event in stored])
