"""Connections: those on which queries are read, and the one on which the ledger is written.

That one is opened when needed, has short time-outs, and is thrown away when in doubt.
"""

import asyncio
import contextlib
import math
import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus
from psycopg.waiting import Ready, Wait

from domain.errors import StoreUnavailable

CONNECT_SECONDS = 2

STREAM_MILLISECONDS = 1
"""How long a reader looks out for the next piece of an answer that has begun to come before others get their turn."""

NOT_IN_TIME = "no answer in time"

T = TypeVar("T")


class ReadingConnection(psycopg.AsyncConnection):
    """An asynchronous connection for queries that are not waited for longer than until `deadline`, a time of the event
    loop. One that takes longer, or whose caller is cancelled, keeps the connection busy until it has been settled.

    The rest of an answer is taken in one go once it has begun to come. PostgreSQL sends 8 KiB at a time; returning to
    the event loop for each took four times the CPU of the answer itself.
    """

    deadline = math.inf
    kept_until = math.inf
    """A time of the event loop, for whoever lends the connection to know when to look after it."""

    _left: tuple[PQGen[Any], BaseException] | None = None
    """The operation that nobody waits for any more, and why."""

    _watched: int | None = None
    """The descriptor of the socket, while the event loop looks at it."""

    _waiting: asyncio.Future[int] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the database may still be at work on something that nobody waits for."""
        return self._left is not None

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """The result of an operation of psycopg. Raises StoreUnavailable when it does not come in time."""
        if self._left is not None:
            raise self._left[1]
        try:
            return await self._result(gen)
        except (StoreUnavailable, asyncio.CancelledError) as reason:
            self._left = gen, reason
            raise

    async def close(self) -> None:
        """Close it, whatever the database is at work on."""
        self._unwatch()
        await super().close()

    async def settle(self) -> None:
        """Wait, however long it takes, until the database is done with what nobody waits for."""
        if self._left is not None:
            self.deadline = math.inf
            with contextlib.suppress(psycopg.Error):
                await self._result(self._left[0])
            self._left = None

    async def _result(self, operation: PQGen[T]) -> T:
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        begun = False
        ready: int
        try:
            wants = next(operation)
            while True:
                if begun and wants == Wait.R and poll.poll(STREAM_MILLISECONDS):
                    ready = Ready.R
                else:
                    ready = await self._readiness(wants)
                    begun = begun or wants == Wait.R
                wants = operation.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result
        except OSError as error:
            raise psycopg.OperationalError("The connection to the database was closed.") from error
        finally:
            if self.pgconn.status != ConnStatus.OK:
                self._unwatch()

    async def _readiness(self, wants: int) -> int:
        """What the socket is ready for, once that is something that an operation waits for."""
        loop, socket = asyncio.get_running_loop(), self.pgconn.socket
        waiting: asyncio.Future[int] = loop.create_future()
        self._waiting = waiting
        self._watch(loop)
        if wants & Wait.W:
            loop.add_writer(socket, _tell, waiting, Ready.W)
        limit = None if self.deadline == math.inf else loop.call_at(self.deadline, _tell, waiting, Ready.NONE)
        try:
            if (found := await waiting) == Ready.NONE:
                raise StoreUnavailable(NOT_IN_TIME)
            return found
        finally:
            self._waiting = None
            if limit is not None:
                limit.cancel()
            if wants & Wait.W:
                loop.remove_writer(socket)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be told when something comes, from now on: to say so anew for every answer takes ten system calls."""
        if self._watched is None:
            self._watched = self.pgconn.socket
            loop.add_reader(self._watched, self._tell_readable)

    def _unwatch(self) -> None:
        # Before the descriptor is used again, by another connection.
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = None

    def _tell_readable(self) -> None:
        if self._waiting is None:
            # The database has something to say that nobody asked for: that it goes. The next to ask will learn it.
            self._unwatch()
        else:
            _tell(self._waiting, Ready.R)


def _tell(waiting: asyncio.Future[int], ready: int) -> None:
    if not waiting.done():
        waiting.set_result(ready)


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
