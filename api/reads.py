"""Reading: connections for queries, how long a caller waits for one, and reads by id that share a query."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from projections.connection import ReadingConnection, session_options

P = ParamSpec("P")
T = TypeVar("T")
ReadByIds = Callable[[AsyncConnection, list[UUID]], Awaitable[Mapping[UUID, bytes]]]

PREPARED_FROM = 1
"""How often a connection has been asked something when it prepares it. Pages ask for the same lists again and again,
and PostgreSQL plans some of them for as long as it works on them; what is asked once costs nothing more.
"""

KEPT_SECONDS = 600.0
"""How long a connection is kept at hand before the pool sees it again, which replaces those that are old."""

MOST_IDS = 500
"""How many ids one query looks up; more wait for the next."""


class Reads:
    """The connections of one process on which it reads.

    `timeout` is how many seconds a query may take before the database cancels it, `give_up` when its caller is told
    where the database hangs and cancels nothing, by default a second later. `patience` is how long a caller waits for
    a free connection, if no longer than that.
    """

    def __init__(
        self, conninfo: str, *, size: int, timeout: float, patience: float, give_up: float | None = None
    ) -> None:
        self._most_attempts = size + 1
        self._give_up = timeout + 1 if give_up is None else give_up
        options = session_options(patience, timeout)
        self._settling: set[asyncio.Task[None]] = set()
        self._at_hand: list[ReadingConnection] = []
        self._asking = 0
        self._pool: AsyncConnectionPool[ReadingConnection] = AsyncConnectionPool(
            make_conninfo(conninfo, application_name="flowledger-reads", options=options, connect_timeout=2),
            connection_class=ReadingConnection,
            min_size=1,
            max_size=size,
            timeout=min(patience, self._give_up),
            kwargs={"autocommit": True, "prepare_threshold": PREPARED_FROM},
            open=False,
        )

    async def open(self) -> None:
        await self._pool.open()

    async def close(self) -> None:
        for work in self._settling:
            work.cancel()
        while self._at_hand:
            await self._pool.putconn(self._at_hand.pop())
        await self._pool.close()

    def usage(self) -> Mapping[str, int]:
        """How the connections are in use, by the names that psycopg_pool has for it."""
        stats = self._pool.get_stats()
        return {**stats, "pool_available": stats["pool_available"] + len(self._at_hand)}

    async def run(
        self, query: Callable[Concatenate[AsyncConnection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of a query, which must be one that may be repeated: on a dead connection it is asked once more.

        Raises StoreUnavailable when the database does not answer in time, and what the query raises.
        """
        deadline = asyncio.get_running_loop().time() + self._give_up
        attempts = 0
        while True:
            attempts += 1
            connection = self._at_hand.pop() if self._at_hand else await self._take()
            connection.deadline = deadline
            try:
                return await query(connection, *args, **kwargs)
            except psycopg.OperationalError:
                # Every connection of the pool may have died with the database they were made to.
                if not connection.closed or attempts == self._most_attempts:
                    raise
            finally:
                await self._give_back(connection)

    async def _take(self) -> ReadingConnection:
        self._asking += 1
        try:
            connection = await self._pool.getconn()
        finally:
            self._asking -= 1
        connection.kept_until = asyncio.get_running_loop().time() + KEPT_SECONDS
        return connection

    async def _give_back(self, connection: ReadingConnection) -> None:
        if not connection.is_busy:
            is_fit = connection.pgconn.transaction_status == TransactionStatus.IDLE
            if is_fit and not self._asking and asyncio.get_running_loop().time() < connection.kept_until:
                # The one that was used last is the next: it has prepared what is asked all the time. The pool takes
                # them in turn.
                self._at_hand.append(connection)
            else:
                await self._pool.putconn(connection)
            return
        # It comes back when the database does; its caller need not wait for that.
        work = asyncio.create_task(self._settle(connection))
        self._settling.add(work)
        work.add_done_callback(self._settling.discard)

    async def _settle(self, connection: ReadingConnection) -> None:
        try:
            await connection.settle()
        finally:
            await self._pool.putconn(connection)


class Gathered:
    """Reads by id of one kind of thing: those that come in while a query is under way share the next one."""

    def __init__(self, reads: Reads, read_by_ids: ReadByIds) -> None:
        self._reads = reads
        self._read_by_ids = read_by_ids
        self._waiting: list[tuple[UUID, asyncio.Future[bytes | None]]] = []
        self._work: asyncio.Task[None] | None = None

    async def read(self, id: UUID) -> bytes | None:
        """The document of one thing as of some time after this call, or None. Raises StoreUnavailable."""
        future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((id, future))
        if self._work is None:
            self._work = asyncio.create_task(self._read_waiting())
        return await future

    async def _read_waiting(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:MOST_IDS], self._waiting[MOST_IDS:]
            try:
                found = await self._reads.run(self._read_by_ids, [id for id, _ in taken])
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
            else:
                for id, future in taken:
                    if not future.done():
                        future.set_result(found.get(id))
        self._work = None
