"""The tasks that fill read tables beside those in use: fold streams, make indexes, count runs."""

from dataclasses import dataclass
from uuid import UUID

from psycopg import Connection, sql

from projections import run_counts
from projections.copying import project_streams
from projections.rebuild.shadow import Index
from projections.rebuild.workers import Tools

SAMPLED = 50_000
"""About how many events are looked at to part the streams."""

EVENTS_PER_RANGE = 10_000
"""About how many events one task folds."""

_BOUNDS = sql.SQL(
    "SELECT percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY originator_id)"
    " FROM ledger.events TABLESAMPLE SYSTEM ({})"
)


@dataclass(frozen=True)
class FoldStreams:
    """Write the rows of the streams with ids from `first` on and before `behind`; gives the number of their events."""

    schema: str
    tables: frozenset[str]
    first: UUID
    behind: UUID | None

    def __call__(self, tools: Tools) -> int:
        with tools.writer.transaction():
            return project_streams(
                tools.reader, tools.writer, self.first, self.behind, schema=self.schema, tables=self.tables
            )


@dataclass(frozen=True)
class MakeIndex:
    """Make an index of a table that is filled, and look how its columns are spread where it is the primary key."""

    schema: str
    index: Index

    def __call__(self, tools: Tools) -> None:
        tools.writer.execute(self.index.statement.encode())
        if self.index.is_primary_key:
            tools.writer.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self.schema, self.index.table)))


@dataclass(frozen=True)
class CountRuns:
    """Make the counters of the runs that are there."""

    schema: str

    def __call__(self, tools: Tools) -> None:
        with tools.writer.transaction():
            run_counts.recount(tools.writer, self.schema)


def ranges(connection: Connection, events: int) -> list[tuple[UUID, UUID | None]]:
    """Ranges of ids, from the first on and before the second, of streams with about as many events each."""
    pieces = max(1, events // EVENTS_PER_RANGE)
    share = min(100.0, 100.0 * SAMPLED / max(1, events))
    shares = [piece / pieces for piece in range(1, pieces)]
    found = connection.execute(_BOUNDS.format(share), [shares]).fetchone()
    bounds = sorted(set(found[0] or ())) if found else []
    return list(zip([UUID(int=0), *bounds], [*bounds, None], strict=True))
