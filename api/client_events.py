"""Keeping the events that clients send of themselves: many senders share one statement, one at a time a process."""

import asyncio
from collections import deque

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from api.herald import Herald
from api.late_payload import kept_events
from api.reads import Reads
from domain.errors import StoreUnavailable, Unstorable
from projections.client_events import ClientEvent, write_client_events
from projections.connection import first_line
from projections.payload_keys.store import KeyStore

CAPACITY = 10_000
"""Most events that may wait; beyond that clients are told to come back."""

AT_ONCE = 500
"""Most events that one statement writes."""

_Waiting = tuple[ClientEvent, "asyncio.Future[None]"]


class ClientEventWriter:
    """What waits to be kept, and the task that keeps it. `keys` are those of payloads, if any are kept."""

    def __init__(self, reads: Reads, herald: Herald, keys: KeyStore | None = None) -> None:
        self._reads = reads
        self._keys = keys
        self._herald = herald
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._work = asyncio.create_task(self._write_waiting())

    async def stop(self) -> None:
        """End; who still waits is told to come back."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._fail(self._waiting, StoreUnavailable("the server is stopping"))

    def submit(self, event: ClientEvent) -> "asyncio.Future[None]":
        """Put an event in line; the future is done once it is durable. Raises StoreUnavailable when that is full."""
        if len(self._waiting) >= CAPACITY:
            raise StoreUnavailable("too many events are waiting")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._wake.set()
        return future

    async def _write_waiting(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                await self._write(taken)
                self._herald.tell()

    async def _write(self, taken: list[_Waiting]) -> None:
        # The same event twice in one statement would be no repetition but an error.
        events = list({event.id: event for event, _ in taken}.values())
        try:
            await self._reads.run(write_client_events, await kept_events(self._keys, events))
        except psycopg.DataError as error:
            if len(taken) == 1:
                self._fail(taken, Unstorable(first_line(error)))
            else:
                for one in taken:
                    await self._write([one])
        except (psycopg.Error, PoolTimeout, PoolClosed, StoreUnavailable) as error:
            self._fail(taken, StoreUnavailable(first_line(error)))
        else:
            for _, future in taken:
                if not future.done():
                    future.set_result(None)

    def _fail(self, those: "deque[_Waiting] | list[_Waiting]", error: Exception) -> None:
        for _, future in those:
            if not future.done():
                future.set_exception(error)
