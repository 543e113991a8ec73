"""Word of what was committed: from the process that wrote it to every process whose clients wait for it.

A process says that it wrote something after its commit, in a transaction of its own, at most so often: NOTIFY takes
part in no transaction that writes, and costs those nothing. A word may be lost with a process or a connection; who
waits looks for itself now and then.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg_pool import PoolClosed, PoolTimeout

from api.reads import Reads
from domain.errors import StoreUnavailable
from projections.connection import first_line

CHANNEL = "flowledger"
NOTIFY = "SELECT pg_notify('flowledger', '')"

PAUSE_SECONDS = 0.03
"""How long a process is silent after it spread a word; what is written meanwhile goes with the next one."""

LOOK_SECONDS = 1.0
"""How long at most those who wait are not woken."""

GONE = (psycopg.Error, PoolTimeout, PoolClosed, StoreUnavailable, OSError)

log = structlog.get_logger(__name__)


class Herald:
    """Spreads the word that this process wrote something, and wakes those in it who wait for any.

    There is one LISTEN connection, opened for the first who waits and kept. `opened` makes it.
    """

    def __init__(self, reads: Reads, opened: Callable[[], Awaitable[AsyncConnection]]) -> None:
        self._reads = reads
        self._opened = opened
        self._wrote = asyncio.Event()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._speak()))

    def stop_soon(self) -> None:
        """Wake all who wait, for the last time, so that none of them keeps the server from its end."""
        self._stopping = True
        self._wake()

    async def stop(self) -> None:
        """Wake all who wait, for the last time, and end."""
        self.stop_soon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def tell(self) -> None:
        """Say that something was committed."""
        self._wrote.set()

    def listen(self) -> None:
        """Open the connection on which words of all processes arrive, unless it is there."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear())
            self._tasks.append(self._listening)

    @property
    def next_word(self) -> asyncio.Event:
        """What is set with the next word; to be had before looking for what was written, so that none is missed."""
        return self._woken

    async def wait(self, word: asyncio.Event, seconds: float = LOOK_SECONDS) -> None:
        """Wait for a word, but not longer than so many seconds."""
        # wait_for, up to Python 3.11, lets a cancellation go that comes together with the word.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await word.wait()

    def _wake(self) -> None:
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def _speak(self) -> None:
        while True:
            await self._wrote.wait()
            self._wrote.clear()
            try:
                await self._reads.run(_notify)
            except GONE as error:
                log.debug("nobody was told of a commit", reason=first_line(error))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _hear(self) -> None:
        served = True
        while True:
            try:
                async with await self._opened() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    served = True
                    # What was said while nobody listened was not heard.
                    self._wake()
                    async for _ in connection.notifies():
                        self._wake()
            except GONE as error:
                if served:
                    log.warning("no word of commits is heard for now", reason=first_line(error))
                served = False
            await asyncio.sleep(LOOK_SECONDS)


async def listening_connection(conninfo: str) -> AsyncConnection:
    """A connection that hears words; one whose database is gone without a farewell is noticed within seconds."""
    return await AsyncConnection.connect(
        make_conninfo(
            conninfo,
            application_name="flowledger-listens",
            connect_timeout=2,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        ),
        autocommit=True,
    )


async def _notify(connection: AsyncConnection) -> None:
    await connection.execute(NOTIFY, prepare=True)
