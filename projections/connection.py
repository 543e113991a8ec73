"""The connection on which the ledger is written: opened when needed, short time-outs, thrown away when in doubt."""

import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.waiting import Ready, Wait

from domain.errors import StoreUnavailable

CONNECT_SECONDS = 2

STREAM_MILLISECONDS = 1
"""How long a reader looks out for the next piece of an answer that has begun to come before others get their turn."""

T = TypeVar("T")


class ReadingConnection(psycopg.AsyncConnection):
    """An asynchronous connection that takes the rest of an answer in one go once it has begun to come.

    PostgreSQL sends 8 KiB at a time. Returning to the event loop for each took four times the CPU of the answer itself.
    """

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        return await super().wait(_taking_all(gen, self.pgconn.socket), *args, **kwargs)


def _taking_all(gen: PQGen[T], socket: int) -> PQGen[T]:
    """The same operation, which yields for its first piece, and for another only where that lets wait for itself."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    begun = False
    ready: int
    try:
        wants = next(gen)
        while True:
            if begun and wants == Wait.R and poll.poll(STREAM_MILLISECONDS):
                ready = Ready.R
            else:
                ready = yield wants
                begun = begun or wants == Wait.R
            wants = gen.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result


class LedgerConnection:
    """One connection, for the use of one thread.

    `patience` is how many seconds a statement or a lock may take; it keeps a sick process from holding the house.
    """

    def __init__(self, conninfo: str, *, patience: float = 2.0, name: str = "flowledger-ledger") -> None:
        self._conninfo = make_conninfo(
            conninfo,
            application_name=name,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=int(patience * 1000),
            keepalives_idle=5,
            options=session_options(patience, patience * 5),
        )
        self._connection: psycopg.Connection | None = None

    def get(self) -> psycopg.Connection:
        """The open connection, in autocommit: statements begin and end transactions. Raises StoreUnavailable."""
        if self._connection is None or self._connection.closed:
            try:
                self._connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=0)
            except psycopg.OperationalError as error:
                raise StoreUnavailable(first_line(error)) from error
        return self._connection

    def drop(self) -> None:
        """Throw the connection away; what it had not committed is rolled back by the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def session_options(lock_seconds: float, statement_seconds: float) -> str:
    """The settings of a session: time-outs, and no JIT, which made short queries many times slower."""
    lock, statement = int(lock_seconds * 1000), int(statement_seconds * 1000)
    return (
        f"-c statement_timeout={statement} -c lock_timeout={lock}"
        f" -c idle_in_transaction_session_timeout={statement} -c jit=off -c timezone=UTC"
    )


def first_line(error: BaseException) -> str:
    """An error of the database in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def until(deadline: float, attempt: Callable[[], bool], pause: Callable[[float], None] = time.sleep) -> bool:
    """Make an attempt again and again until it says it is done, or until `deadline` (monotonic seconds) has passed."""
    while True:
        try:
            return attempt()
        except StoreUnavailable:
            if time.monotonic() >= deadline:
                raise
            pause(0.05)
