"""Who is at work on a ledger as a whole: one process that changes its tables, or any number that only look at them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import Connection

WHOLE_LEDGER_LOCK = 0x464C4F5752454255
"""The advisory lock of who is at work on the ledger as a whole ("FLOWREBU" in ASCII); who only looks shares it."""


class Busy(Exception):
    """Somebody else is at work on the ledger as a whole, so that its tables must not, or may not, change."""

    def __init__(self) -> None:
        super().__init__("Another process is rebuilding, verifying, archiving or restoring this ledger.")


@contextmanager
def alone(connection: Connection, *, wait: bool = False) -> Iterator[None]:
    """Be the only one at work, for a connection that commits by itself. Raises Busy, unless it is to `wait`."""
    if wait:
        connection.execute("SELECT pg_advisory_lock(%s)", [WHOLE_LEDGER_LOCK])
    elif connection.execute("SELECT pg_try_advisory_lock(%s)", [WHOLE_LEDGER_LOCK]).fetchone() != (True,):
        raise Busy
    try:
        yield
    finally:
        # A session that ends lets go only when its process comes to run, after its client has gone on.
        with suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock(%s)", [WHOLE_LEDGER_LOCK])


@contextmanager
def looking(connection: Connection) -> Iterator[None]:
    """Only look, beside others who do, for a connection that commits by itself. Raises Busy."""
    if connection.execute("SELECT pg_try_advisory_lock_shared(%s)", [WHOLE_LEDGER_LOCK]).fetchone() != (True,):
        raise Busy
    try:
        yield
    finally:
        with suppress(psycopg.Error):
            connection.execute("SELECT pg_advisory_unlock_shared(%s)", [WHOLE_LEDGER_LOCK])
