"""Making the read tables anew from the ledger, beside those in use, and putting them in their place.

Streams are folded in parallel, as of one exported snapshot, with the projectors that write rows with every append;
then indexes and counters are made, the rows are held against those in use, what happened meanwhile is carried over, and
the tables change places. Until then nothing in use is touched, so that it may end at any point.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection, sql

from projections.rebuild import comparing, filling, shadow
from projections.rebuild.catching_up import EVENTS_AT_ONCE, CatchingUp
from projections.rebuild.comparing import COUNTERS, Difference, SumHashes
from projections.rebuild.swapping import swap as swap_tables
from projections.rebuild.workers import Task, Workers
from projections.run_counts import COUNTED
from projections.schema import shape
from projections.tables import READ, TABLES

REBUILD_LOCK = 0x464C4F5752454255
"""The advisory lock that who rebuilds holds ("FLOWREBU" in ASCII): one at a time."""

ALL = frozenset({*(table.name for table in TABLES), COUNTERS})
"""The names of the tables that can be rebuilt."""

Report = Callable[[str, int, int], None]
"""Told how far a rebuild is: what is being done, how much of it, and of how much."""

_OPTIONS = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c jit=off -c timezone=UTC"


class AlreadyRebuilding(Exception):
    """Another process is rebuilding the tables of this ledger."""

    def __init__(self) -> None:
        super().__init__("Another process is rebuilding the read tables of this ledger.")


class OtherShape(Exception):
    """Tables of another shape can be neither held against the events nor replaced one by one."""

    def __init__(self) -> None:
        super().__init__("The read tables have the shape of another version: they can only be rebuilt as a whole.")


@dataclass(frozen=True)
class Plan:
    """What to rebuild, in how many processes, whether to hold it against what is in use, and whether to replace that.

    `only` None means all tables.
    """

    jobs: int
    only: frozenset[str] | None = None
    verify: bool = False
    swap: bool = True

    @property
    def wanted(self) -> frozenset[str]:
        return ALL if self.only is None else self.only

    @property
    def filled(self) -> frozenset[str]:
        """The tables to be filled: those that are wanted, and those that the counters are made of."""
        return (self.wanted | (set(COUNTED) if COUNTERS in self.wanted else set())) - {COUNTERS}


@dataclass
class Rebuilt:
    """What became of a rebuild.

    `events` of the ledger up to `position` were folded in `seconds`; `caught_up` more were carried over before the
    tables changed places, for which writers waited `locked_seconds`. `differences` were found between the tables in use
    and those that were made, None if nobody looked.
    """

    events: int = 0
    position: int = 0
    seconds: float = 0.0
    caught_up: int = 0
    locked_seconds: float | None = None
    differences: list[Difference] | None = None
    steps: dict[str, float] = field(default_factory=dict)


def rebuild(conninfo: str, plan: Plan, report: Report = lambda step, done, total: None) -> Rebuilt:
    """Rebuild read tables, and replace those in use if the plan says so and nothing is wrong with the log.

    Raises AlreadyRebuilding, OtherShape, WorkerFailed, TablesInUse; the tables in use are then as they were.
    """
    with psycopg.connect(conninfo, options=_OPTIONS, autocommit=True) as connection, _alone(connection):
        same_shape = _shape_in_use(connection) == shape()
        if not same_shape and (plan.only is not None or plan.verify):
            raise OtherShape
        shadow.drop_unused(connection)
        return _Rebuilding(conninfo, connection, plan, report).run()


def ensure_shape(conninfo: str, jobs: int, report: Report) -> Rebuilt | None:
    """Rebuild the read tables where they have the shape of another version of the code; None where they have not.

    Where another process is at it, that is waited for.
    """
    with psycopg.connect(conninfo, options=_OPTIONS, autocommit=True) as connection:
        if _shape_in_use(connection) == shape():
            return None
        connection.execute("SELECT pg_advisory_lock(%s)", [REBUILD_LOCK])
        if _shape_in_use(connection) == shape():
            return None
        shadow.drop_unused(connection)
        return _Rebuilding(conninfo, connection, Plan(jobs), report).run()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    if connection.execute("SELECT pg_try_advisory_lock(%s)", [REBUILD_LOCK]).fetchone() != (True,):
        raise AlreadyRebuilding
    yield


def _shape_in_use(connection: Connection) -> str | None:
    found = connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(READ, "shape"))).fetchone()
    return found[0] if found else None


class _Rebuilding:
    """One rebuild under way; the connection holds the lock for it."""

    def __init__(self, conninfo: str, connection: Connection, plan: Plan, report: Report) -> None:
        self._conninfo = conninfo
        self._connection = connection
        self._plan = plan
        self._report = report
        self._schema = shadow.new_name()
        self._result = Rebuilt()
        self._began = self._step_began = time.monotonic()

    def run(self) -> Rebuilt:
        with self._snapshot() as name, Workers(self._plan.jobs, self._conninfo, name) as workers:
            indexes = [
                index for index in shadow.create(self._connection, self._schema) if index.table in self._plan.filled
            ]
            self._fill(workers, indexes)
            if self._plan.verify:
                self._compare(workers)
        self._result.seconds = time.monotonic() - self._began
        if self._plan.swap:
            self._catch_up_and_swap()
        shadow.drop_unused(self._connection)
        self._end_step("dropped")
        return self._result

    @contextmanager
    def _snapshot(self) -> Iterator[str]:
        """A transaction that sees the ledger as it is now, for all workers; gives the name by which they join it."""
        with psycopg.connect(self._conninfo, options=_OPTIONS) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            row = connection.execute(
                "SELECT pg_export_snapshot(), count(*), coalesce(max(position), 0) FROM ledger.events"
            ).fetchone()
            name, self._result.events, self._result.position = row or ("", 0, 0)
            self._ranges = filling.ranges(connection, self._result.events)
            yield name

    def _fill(self, workers: Workers, indexes: list[shadow.Index]) -> None:
        tasks = [filling.FoldStreams(self._schema, self._plan.filled, first, behind) for first, behind in self._ranges]
        folded = 0
        self._report("folding events", folded, self._result.events)
        for number in workers.results(tasks):
            folded += number
            self._report("folding events", folded, self._result.events)
        self._end_step("folded")
        making: list[Task] = [filling.MakeIndex(self._schema, index) for index in indexes]
        if COUNTERS in self._plan.wanted:
            making.insert(0, filling.CountRuns(self._schema))
        self._do("making indexes", workers, making)
        shadow.declare_primary_keys(self._connection, self._schema, indexes)
        self._end_step("indexed")

    def _compare(self, workers: Workers) -> None:
        names = sorted(self._plan.wanted, key=lambda name: name != COUNTERS)
        sums = self._do(
            "comparing tables",
            workers,
            [SumHashes(schema, name) for name in names for schema in (READ, self._schema)],
        )
        found = self._do("finding differences", workers, comparing.differing(sums, self._schema))
        self._result.differences = [difference for differences in found for difference in differences]
        self._end_step("compared")

    def _catch_up_and_swap(self) -> None:
        catching_up = CatchingUp(self._connection, self._schema, self._result.position)
        while True:
            carried = catching_up.step()
            self._result.caught_up = catching_up.position - self._result.position
            self._report("catching up", self._result.caught_up, self._result.caught_up)
            if carried < EVENTS_AT_ONCE:
                break
        self._end_step("caught up")
        self._result.locked_seconds = swap_tables(self._connection, catching_up, self._schema, self._plan.only)
        self._result.caught_up = catching_up.position - self._result.position
        self._end_step("swapped")

    def _do(self, step: str, workers: Workers, tasks: Sequence[Task]) -> list[Any]:
        results: list[Any] = []
        self._report(step, 0, len(tasks))
        for result in workers.results(tasks):
            results.append(result)
            self._report(step, len(results), len(tasks))
        return results

    def _end_step(self, name: str) -> None:
        now = time.monotonic()
        self._result.steps[name] = now - self._step_began
        self._step_began = now
