"""Read tables being made beside those in use: filled, indexed, and held against them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from projections.rebuild import comparing, shadow
from projections.rebuild.comparing import COUNTERS, Difference, SumHashes
from projections.rebuild.filling import CountRuns, FoldStreams, MakeIndex
from projections.rebuild.moment import Moment
from projections.rebuild.workers import Task, WorkerFailed, Workers
from projections.run_counts import COUNTED
from projections.tables import READ, TABLES

ALL = frozenset({*(table.name for table in TABLES), COUNTERS})
"""The names of the tables that can be rebuilt."""

Report = Callable[[str, int, int], None]
"""Told how far a rebuild is: what is being done, how much of it is, and of how much."""


def silently(step: str, done: int, total: int) -> None:
    """Report to nobody."""


@dataclass(frozen=True)
class Build:
    """The tables of a schema of their own, made by workers as of one moment. `tables` are those that are wanted.

    A `gentle` one leaves half of the processors to others while it is the database that works: its sessions cannot
    stand back as far as workers do, or what they hold would be waited for.
    """

    connection: Connection
    schema: str
    tables: frozenset[str]
    report: Report
    gentle: bool = True

    @property
    def filled(self) -> frozenset[str]:
        """The tables to be filled: those that are wanted, and those that the counters are made of."""
        return (self.tables | (set(COUNTED) if COUNTERS in self.tables else set())) - {COUNTERS}

    def fill(self, workers: Workers, moment: Moment) -> None:
        """Make the tables and all rows of them, then their indexes and the counters. Raises WorkerFailed."""
        created = shadow.create(self.connection, self.schema)
        indexes = [index for index in created if index.table in self.filled | self.tables]
        folded = 0
        self.report("Folding events", folded, moment.events)
        for number in workers.results(FoldStreams(self.schema, self.filled, *range) for range in moment.ranges):
            folded += number
            self.report("Folding events", folded, moment.events)
        if folded != moment.events:
            raise WorkerFailed(f"{folded:,} of {moment.events:,} events were folded")
        # Those of the counters come last, or a worker would wait for the other to count the runs.
        by_counters = sorted(indexes, key=lambda index: index.table == COUNTERS)
        making: list[Task] = [MakeIndex(self.schema, index) for index in by_counters]
        if COUNTERS in self.tables:
            making.insert(0, CountRuns(self.schema))
        self._do("Making indexes", workers, making)
        shadow.declare_primary_keys(self.connection, self.schema, indexes)

    def compare(self, workers: Workers) -> list[Difference]:
        """The rows in use that are not what was made, as of the moment that it was made of."""
        names = sorted(self.tables, key=lambda name: name != COUNTERS)
        tasks = [SumHashes(schema, name) for name in names for schema in (READ, self.schema)]
        sums = self._do("Comparing tables", workers, tasks)
        found = self._do("Looking for differences", workers, comparing.differing(sums, self.schema))
        return [difference for some in found for difference in some]

    def _do(self, step: str, workers: Workers, tasks: Sequence[Task]) -> list[Any]:
        results: list[Any] = []
        self.report(step, 0, len(tasks))
        for result in workers.results(tasks, at_once=workers.half if self.gentle else None):
            results.append(result)
            self.report(step, len(results), len(tasks))
        return results
