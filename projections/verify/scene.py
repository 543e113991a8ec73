"""What all checks of a ledger look at: one snapshot of one database, from as many processes as there are jobs."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from projections.verify.findings import Part

ROWS_AT_ONCE = 2_000
"""How many rows a reader holds in memory."""

ROWS_PER_PART = 20_000
"""How many events are looked at between two steps of the progress."""

# Reading all there is takes as long as it takes. Texts are taken as the bytes they are: nothing that may have become
# of them keeps a check from looking at them.
_OPTIONS = (
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c jit=off -c timezone=UTC"
    " -c client_encoding=SQL_ASCII"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of a ledger, which lasts as long as its snapshot is open.

    `connection` reads it here, with texts as bytes; `snapshot` is the id by which other connections come to see the
    same, and `executor` runs in other processes, if there are several `jobs`. `keys` is where those of payloads are.
    """

    conninfo: str
    snapshot: str
    jobs: int
    connection: psycopg.Connection
    executor: Executor | None
    keys: str | None = None

    def look(self, look_at: Callable[..., Part], parts: Sequence[tuple[Any, ...]]) -> Iterator[Part]:
        """What a function finds in each part of the ledger, in no particular order.

        The function is given a connection to the same moment, and the bounds of its part.
        """
        if self.executor is None:
            for bounds in parts:
                yield look_at(self.connection, *bounds)
            return
        work = [self.executor.submit(_look, look_at, bounds) for bounds in parts]
        try:
            for done in as_completed(work):
                yield done.result()
        finally:
            for future in work:
                future.cancel()


@contextmanager
def scene(conninfo: str, jobs: int, keys: str | None = None) -> Iterator[Scene]:
    """A moment of a ledger, for the time of a `with` block; with one job everything is done in this process."""
    with _connect(conninfo) as connection:
        row = connection.execute("SELECT convert_to(pg_export_snapshot(), 'UTF8')").fetchone()
        snapshot = row[0].decode() if row else ""
        if jobs == 1:
            yield Scene(conninfo, snapshot, jobs, connection, None, keys)
            return
        # Spawned, not forked: a fork would share the connection that is open here.
        with ProcessPoolExecutor(jobs, get_context("spawn"), _open, (conninfo, snapshot)) as executor:
            try:
                yield Scene(conninfo, snapshot, jobs, connection, executor, keys)
            finally:
                executor.shutdown(wait=True, cancel_futures=True)


def rows(
    connection: psycopg.Connection, name: str, query: LiteralString, values: Sequence[Any] | Mapping[str, Any]
) -> Iterator[Any]:
    """The rows of a query, so many at a time; `name` is that of its cursor."""
    with connection.cursor(name) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query, values)
        yield from cursor


_process: list[psycopg.Connection] = []
"""The connection of a process that works for another."""


def _open(conninfo: str, snapshot: str) -> None:
    """Get a process ready; it ends with the one it works for, and leaves a Ctrl-C to that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = _connect(conninfo)
    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
    _process.append(connection)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        # Whoever is left alone would keep the snapshot open, and with it all that was deleted since.
        os._exit(1)


def _look(look_at: Callable[..., Part], bounds: tuple[Any, ...]) -> Part:
    return look_at(_process[0], *bounds)


def _connect(conninfo: str) -> psycopg.Connection:
    connection = psycopg.connect(conninfo, options=_OPTIONS, application_name="flowledger-verify")
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return connection
