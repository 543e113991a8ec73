"""Putting rebuilt tables in the place of those in use, at one moment for readers and writers."""

import time
from collections.abc import Callable, Collection

import psycopg
from psycopg import Connection, sql

from projections.rebuild import shadow
from projections.rebuild.catching_up import CatchingUp
from projections.schema import LEDGER_LOCK
from projections.tables import READ

PATIENCE_MILLISECONDS = 300
"""How long writers are kept waiting for those who read from a single table that is to be replaced."""

ATTEMPTS = 100
PAUSE_SECONDS = 0.2


class TablesInUse(Exception):
    """Tables could not be replaced, for somebody was reading from them all the time."""

    def __init__(self, tables: Collection[str]) -> None:
        self.tables = sorted(tables)
        super().__init__(f"Somebody reads from {', '.join(self.tables)} all the time: nothing was replaced.")


def swap(
    connection: Connection,
    catching_up: CatchingUp,
    schema: str,
    only: Collection[str] | None,
    pause: Callable[[float], None] = time.sleep,
) -> float:
    """Under the ledger lock, carry over the last events and let the tables change places; give the seconds it was held.

    With `only`, these tables alone change places; those who read from them are waited for, a little at a time. Without,
    it is the schemas that do, for which nobody is waited for. Raises TablesInUse.
    """
    position = catching_up.position
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(PAUSE_SECONDS)
        try:
            return _swap(connection, catching_up, schema, only)
        except psycopg.errors.LockNotAvailable:
            # What was carried over in the transaction was rolled back with it.
            catching_up.go_back(position)
    raise TablesInUse(only or ())


def _swap(connection: Connection, catching_up: CatchingUp, schema: str, only: Collection[str] | None) -> float:
    old = sql.Identifier(shadow.new_name())
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LEDGER_LOCK])
        began = time.monotonic()
        while catching_up.step():
            pass
        if only is None:
            connection.execute(sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(READ), old))
            connection.execute(
                sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(schema), sql.Identifier(READ))
            )
        else:
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(PATIENCE_MILLISECONDS))
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(old))
            for table in sorted(only):
                _change_places(connection, schema, table, old)
    return time.monotonic() - began


def _change_places(connection: Connection, schema: str, table: str, old: sql.Identifier) -> None:
    move = sql.SQL("ALTER TABLE {} SET SCHEMA {}")
    connection.execute(move.format(sql.Identifier(READ, table), old))
    connection.execute(move.format(sql.Identifier(schema, table), sql.Identifier(READ)))
