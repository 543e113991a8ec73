"""What must hold of every ledger, whatever happened to the processes that wrote it."""

import hashlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import StoredEvent
from psycopg.rows import dict_row
from pydantic_core import from_json, to_json

from domain.aggregate import Aggregate
from domain.events import Event, EventMapper
from domain.held_keys import held_keys
from domain.keys import Key
from domain.ledger import replay
from projections import run_counts
from projections.projectors import project
from projections.seals import GENESIS, leaf
from projections.tables import TABLES

EVERY = """
SELECT position, originator_id, originator_version FROM ledger.events
UNION ALL SELECT position, originator_id, originator_version FROM ledger.archived
"""

Rows = dict[str, list[dict[str, Any]]]


def check_ledger(conninfo: str, mapper: EventMapper | None = None) -> int:
    """Assert that positions and versions are contiguous, seals intact, keys and read rows what the events make.

    Gives the number of events, which `mapper` reads.
    """
    with psycopg.connect(conninfo) as connection:
        stored = stored_events(connection)
        check_positions(connection)
        check_seals(connection)
        assert claimed_keys(connection) == keys_held(stored, mapper)
        assert live_rows(connection) == rebuilt_rows(stored, mapper)
    check_counts(conninfo)
    return len(stored)


def stored_events(connection: psycopg.Connection) -> list[StoredEvent]:
    """All events, in order of position."""
    rows = connection.execute(
        "SELECT originator_id, originator_version, topic, state FROM ledger.events ORDER BY position"
    )
    return [StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in rows]


def check_positions(connection: psycopg.Connection) -> None:
    """Assert that positions and the versions of each stream count from 1 without gaps, and times never go back."""
    positions = [row[0] for row in connection.execute(f"SELECT position FROM ({EVERY}) AS every ORDER BY 1")]  # noqa: S608
    assert positions == list(range(1, len(positions) + 1))
    uneven = connection.execute(
        f"SELECT originator_id FROM ({EVERY}) AS every GROUP BY 1 HAVING max(originator_version) <> count(*)"  # noqa: S608
    ).fetchall()
    assert uneven == []
    recorded = "SELECT (state::json ->> 'recorded_at')::timestamptz FROM ledger.events ORDER BY position"
    times = [row[0] for row in connection.execute(recorded)]
    assert times == sorted(times)


def check_seals(connection: psycopg.Connection) -> None:
    """Assert that the seals cover all events, each exactly once, and chain them; in archives or not."""
    rows = connection.execute(
        "SELECT position, leaf, NULL::uuid, 0, '', '' FROM ledger.archived UNION ALL"
        " SELECT position, NULL, originator_id, originator_version, topic, state FROM ledger.events ORDER BY position"
    )
    leaves = [
        left or leaf(StoredEvent(id, version, topic, state.encode())) for _, left, id, version, topic, state in rows
    ]
    previous, covered = GENESIS, 0
    seals = connection.execute("SELECT first_position, last_position, hash FROM ledger.seals ORDER BY last_position")
    for first, last, hash in seals:
        assert first == covered + 1
        assert hash == hashlib.sha256(previous + b"".join(leaves[first - 1 : last])).digest()
        previous, covered = hash, last
    assert covered == len(leaves)


def check_counts(conninfo: str) -> None:
    """Assert that the counters add up to what they are when made anew from the rows of runs."""
    counters = (
        "SELECT kind, dimension, key, width, nullif(bucket, '-infinity'), state_type, state_name, runs,"
        " run_time, running_since, late, waiting, waiting_since FROM ({}) AS counters"
    )
    with psycopg.connect(conninfo) as connection:
        # Counters may be added up meanwhile: both questions are asked of one moment.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = list(connection.execute(psycopg.sql.SQL(counters).format(run_counts.summed())))
        rows = connection.execute(psycopg.sql.SQL(counters).format(run_counts.recounted())).fetchall()
        assert set(found) == set(rows)
        assert len(found) == len(rows)


def claimed_keys(connection: psycopg.Connection) -> dict[Key, UUID]:
    """The natural keys as they are claimed."""
    return {(kind, key): id for kind, key, id in connection.execute("SELECT kind, key, id FROM ledger.keys")}


def keys_held(stored: list[StoredEvent], mapper: EventMapper | None = None) -> dict[Key, UUID]:
    """The natural keys that live aggregates hold; no two hold the same."""
    held = [(key, aggregate.id) for aggregate, _ in streams(stored, mapper) for key in held_keys(aggregate)]
    keys = dict(held)
    assert len(keys) == len(held)
    return keys


def streams(
    stored: list[StoredEvent], mapper: EventMapper | None = None
) -> Iterator[tuple[Aggregate, list[StoredEvent]]]:
    """Each aggregate and the events it is made of."""
    mapper = mapper or EventMapper()
    by_stream = sorted(stored, key=lambda event: (str(event.originator_id), event.originator_version))
    for id, stream in groupby(by_stream, key=lambda event: event.originator_id):
        one = list(stream)
        yield replay(mapper, UUID(str(id)), one), one


def live_rows(connection: psycopg.Connection) -> Rows:
    """The rows of all read tables as they stand, in order of their keys."""
    rows: Rows = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table in TABLES:
            cursor.execute(psycopg.sql.SQL("SELECT * FROM read.{}").format(psycopg.sql.Identifier(table.name)))
            rows[table.name] = _in_order(table.key, cursor.fetchall())
    return rows


def rebuilt_rows(stored: list[StoredEvent], mapper: EventMapper | None = None) -> Rows:
    """The rows that the events make when each stream is folded by itself."""
    mapper = mapper or EventMapper()
    rows: Rows = {table.name: [] for table in TABLES}
    for aggregate, one in streams(stored, mapper):
        events: list[Event] = [mapper.to_domain_event(event) for event in one]
        for name, made in project([aggregate], events).written.items():
            rows[name].extend(made)
    return {table.name: _in_order(table.key, rows[table.name]) for table in TABLES}


def _in_order(key: tuple[str, ...], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as plain values, in order of their keys; documents stay the texts they are."""
    plain: list[dict[str, Any]] = from_json(to_json(rows))
    return sorted(plain, key=lambda row: [str(row[column]) for column in key])
