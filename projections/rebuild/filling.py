"""The tasks that fill read tables beside those in use: fold streams, make indexes, count runs."""

from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from projections import run_counts
from projections.copying import project_streams
from projections.rebuild.comparing import COUNTERS
from projections.rebuild.shadow import Index
from projections.rebuild.workers import Tools


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
                tools.reader,
                tools.writer,
                self.first,
                self.behind,
                schema=self.schema,
                tables=self.tables,
                mapper=tools.mapper,
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
    """Make the counters of the runs that are there, and look how they are spread."""

    schema: str

    def __call__(self, tools: Tools) -> None:
        with tools.writer.transaction():
            run_counts.recount(tools.writer, self.schema)
        tools.writer.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self.schema, COUNTERS)))
