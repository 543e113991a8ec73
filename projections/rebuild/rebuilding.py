"""Making the read tables anew from the ledger, beside those in use, and putting them in their place.

Streams are folded in parallel, as of one exported snapshot, with the projectors that write rows with every append;
then indexes and counters are made, the rows are held against those in use, what happened meanwhile is carried over, and
the tables change places. Until then nothing in use is touched, so that it may end at any point.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from psycopg import Connection, sql

from projections.payload_keys.opening import mapper_for
from projections.rebuild import shadow
from projections.rebuild.alone import alone, looking
from projections.rebuild.building import ALL, Build, Report, silently
from projections.rebuild.catching_up import EVENTS_AT_ONCE, CatchingUp
from projections.rebuild.comparing import Difference
from projections.rebuild.moment import OPTIONS, moment
from projections.rebuild.swapping import swap
from projections.rebuild.workers import Workers
from projections.schema import shape
from projections.tables import READ

_TABLES = """
SELECT array_agg(pg_class.oid ORDER BY pg_class.oid) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind = 'r'
"""


class TablesReplaced(Exception):
    """Tables have changed places since the moment as of which they were to be looked at."""

    def __init__(self) -> None:
        super().__init__("The read tables were rebuilt meanwhile: look at them again.")


class OtherShape(Exception):
    """Tables of another shape can be neither held against the events nor replaced one by one."""

    def __init__(self) -> None:
        super().__init__("The read tables have the shape of another version: they can only be rebuilt as a whole.")


@dataclass(frozen=True)
class Plan:
    """What to rebuild, in how many processes, whether to hold it against what is in use, and whether to replace that.

    `only` None means all tables. `keys` is where those of payloads are. Beside a `gentle` rebuild others are served.
    """

    jobs: int
    only: frozenset[str] | None = None
    verify: bool = False
    swap: bool = True
    keys: str | None = None
    gentle: bool = True


@dataclass(frozen=True)
class Rebuilt:
    """What became of a rebuild.

    `events` of the ledger up to `position` were folded, indexed and, if asked for, compared in `seconds`; `caught_up`
    more were carried over before the tables changed places, for which writers waited `locked_seconds`, None where they
    did not change places. `differences` are those between the tables in use and those that were made, None if nobody
    looked.
    """

    events: int
    position: int
    seconds: float
    differences: list[Difference] | None = None
    caught_up: int = 0
    locked_seconds: float | None = None


def rebuild(conninfo: str, plan: Plan, report: Report = silently) -> Rebuilt:
    """Rebuild read tables, and let them take the place of those in use if the plan says so.

    Raises Busy, OtherShape, WorkerFailed, TablesInUse; the tables in use are then as they were.
    """
    with _connect(conninfo) as connection, alone(connection):
        if (plan.only is not None or plan.verify) and _shape_in_use(connection) != shape():
            raise OtherShape
        return _rebuild(conninfo, connection, plan, report)


def ensure_shape(conninfo: str, jobs: int, report: Report = silently, keys: str | None = None) -> Rebuilt | None:
    """Rebuild the read tables if they have the shape of another version of the code; None if they have not.

    Where another process is at it, that is waited for. Raises WorkerFailed.
    """
    with _connect(conninfo) as connection:
        if _shape_in_use(connection) == shape():
            return None
        with alone(connection, wait=True):
            if _shape_in_use(connection) == shape():
                return None
            return _rebuild(conninfo, connection, Plan(jobs, keys=keys, gentle=False), report)


def differences(
    conninfo: str, snapshot: str, jobs: int, report: Report = silently, keys: str | None = None
) -> list[Difference]:
    """What is different, as of an exported snapshot, between the read tables in use and what the events make.

    Raises OtherShape, Busy, TablesReplaced, and WorkerFailed where nothing can be made of the events.
    """
    with _connect(conninfo) as connection, looking(connection):
        if _shape_in_use(connection) != shape():
            raise OtherShape
        build = Build(connection, shadow.new_name(), ALL, report)
        with _tidied(connection), moment(conninfo, snapshot) as then:
            # Later tables would be seen without the rows that were written since the snapshot.
            if _tables_in_use(then.connection) != _tables_in_use(connection):
                raise TablesReplaced
            with Workers(jobs, conninfo, then.snapshot, keys) as workers:
                build.fill(workers, then)
                return build.compare(workers)


def _rebuild(conninfo: str, connection: Connection, plan: Plan, report: Report) -> Rebuilt:
    shadow.drop_unused(connection)
    began = time.monotonic()
    build = Build(connection, shadow.new_name(), ALL if plan.only is None else plan.only, report, plan.gentle)
    with _tidied(connection):
        with moment(conninfo) as now, Workers(plan.jobs, conninfo, now.snapshot, plan.keys) as workers:
            build.fill(workers, now)
            found = build.compare(workers) if plan.verify else None
        seconds = time.monotonic() - began
        caught_up, locked_seconds = 0, None
        if plan.swap:
            mapper = mapper_for(plan.keys)
            catching_up = CatchingUp(connection, build.schema, build.filled, now.position, mapper)
            while catching_up.step() == EVENTS_AT_ONCE:
                report("Catching up", catching_up.position - now.position, 0)
            shadow.give_to_autovacuum(connection, build.schema)
            locked_seconds = swap(connection, catching_up, build.schema, plan.only)
            caught_up = catching_up.position - now.position
    return Rebuilt(now.events, now.position, seconds, found, caught_up, locked_seconds)


@contextmanager
def _tidied(connection: Connection) -> Iterator[None]:
    """Leave nothing behind, whatever happens; where that cannot be, whoever rebuilds next does it."""
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            shadow.drop_unused(connection)


def _connect(conninfo: str) -> Connection:
    return psycopg.connect(conninfo, options=OPTIONS, autocommit=True, application_name="flowledger-rebuild")


def _tables_in_use(connection: Connection) -> object:
    return connection.execute(_TABLES, [READ]).fetchone()


def _shape_in_use(connection: Connection) -> str | None:
    found = connection.execute(sql.SQL("SELECT id FROM {}").format(sql.Identifier(READ, "shape"))).fetchone()
    return found[0] if found else None
