"""One moment of the ledger, which everything that is rebuilt is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import Connection, sql

OPTIONS = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c jit=off -c timezone=UTC"
"""The settings of a session for which nobody waits."""

SAMPLED = 50_000
"""About how many events are looked at to part the streams."""

EVENTS_PER_RANGE = 10_000
"""About how many events are folded in one piece."""

_BOUNDS = sql.SQL(
    "SELECT percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY originator_id)"
    " FROM ledger.events TABLESAMPLE SYSTEM ({})"
)

Range = tuple[UUID, UUID | None]
"""The ids from the first on and before the second."""


@dataclass(frozen=True)
class Moment:
    """The ledger as it stands at a `position`, by the name of an exported `snapshot`.

    `ranges` of ids part its `events` into pieces of about the same size. What the `connection` reads is as of then.
    """

    connection: Connection
    snapshot: str
    events: int
    position: int
    ranges: list[Range]


@contextmanager
def moment(conninfo: str, snapshot: str | None = None) -> Iterator[Moment]:
    """The moment of a snapshot that others have exported, else this one; it can be joined until the block ends."""
    with psycopg.connect(conninfo, options=OPTIONS) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        if snapshot is None:
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            snapshot = row[0] if row else ""
        else:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
        row = connection.execute("SELECT count(*), coalesce(max(position), 0) FROM ledger.events").fetchone()
        events, position = row or (0, 0)
        yield Moment(connection, snapshot, events, position, _ranges(connection, events))


def _ranges(connection: Connection, events: int) -> list[Range]:
    pieces = max(1, events // EVENTS_PER_RANGE)
    share = min(100.0, 100.0 * SAMPLED / max(1, events))
    shares = [piece / pieces for piece in range(1, pieces)]
    found = connection.execute(_BOUNDS.format(share), [shares]).fetchone()
    bounds = sorted(set(found[0] or ())) if found else []
    return list(zip([UUID(int=0), *bounds], [*bounds, None], strict=True))
