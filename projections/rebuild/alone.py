"""Who is at work on a ledger as a whole: one process that changes its tables, or any number that only look at them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import psycopg
from psycopg import Connection, sql

WHOLE_LEDGER_LOCK = 0x464C4F5752454255
"""The advisory lock of who is at work on the ledger as a whole ("FLOWREBU" in ASCII); who only looks shares it."""


class Busy(Exception):
    """Somebody else is at work on the ledger as a whole, so that its tables must not, or may not, change."""

    def __init__(self) -> None:
        super().__init__("Another process is rebuilding, verifying, archiving or restoring this ledger.")


def alone(connection: Connection, *, wait: bool = False) -> AbstractContextManager[None]:
    """Be the only one at work, for a connection that commits by itself. Raises Busy, unless it is to `wait`."""
    return _holding(connection, "pg_advisory_lock" if wait else "pg_try_advisory_lock", "pg_advisory_unlock")


def looking(connection: Connection) -> AbstractContextManager[None]:
    """Only look, beside others who do, for a connection that commits by itself. Raises Busy."""
    return _holding(connection, "pg_try_advisory_lock_shared", "pg_advisory_unlock_shared")


@contextmanager
def _holding(connection: Connection, take: str, let_go: str) -> Iterator[None]:
    call = sql.SQL("SELECT {}({})")
    if connection.execute(call.format(sql.Identifier(take), WHOLE_LEDGER_LOCK)).fetchone() == (False,):
        raise Busy
    try:
        yield
    finally:
        # A session that ends lets go only when its process comes to run, after its client has gone on.
        with suppress(psycopg.Error):
            connection.execute(call.format(sql.Identifier(let_go), WHOLE_LEDGER_LOCK))
