"""The end of the ledger, for all in this process who follow it: what is new is read once and kept for a while."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from uuid import UUID

import structlog

from api.errors import UNAVAILABLE
from api.herald import Herald
from api.reads import Reads
from domain.events import EventMapper
from domain.flow_run import FlowRunPayloadErased
from domain.task_run import TaskRunPayloadErased
from projections.connection import first_line
from projections.head import read_head
from projections.ledger_feed import EVENTS_AT_ONCE, EVERYTHING, Entry, Window, read_window

TASK = "ledger-tail"

MOST_KEPT = 2_000
"""How many of the newest events are kept."""

MOST_BYTES = 8 * 1024 * 1024
"""How many bytes of them."""

ERASURES = frozenset({FlowRunPayloadErased.TOPIC, TaskRunPayloadErased.TOPIC})

log = structlog.get_logger(__name__)


class LedgerTail:
    """The newest events of the ledger, read only while somebody follows it.

    Whoever is further behind than what is kept here reads for itself. A ledger that was emptied or replaced has another
    `ledger_id`. `mapper` gives what reads events once.
    """

    def __init__(
        self,
        reads: Reads,
        herald: Herald,
        *,
        most_kept: int = MOST_KEPT,
        most_bytes: int = MOST_BYTES,
        mapper: Callable[[], EventMapper] = EventMapper,
    ) -> None:
        self._reads = reads
        self._herald = herald
        self._most_kept = most_kept
        self._most_bytes = most_bytes
        self.mapper = mapper
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.readers = 0
        self._forget()

    def _forget(self) -> None:
        self.ledger_id: UUID | None = None
        self._entries: list[Entry] = []
        self._size = 0
        self._behind = self._reached = 0

    @property
    def stopping(self) -> bool:
        return self._herald.stopping

    @property
    def next_change(self) -> asyncio.Event:
        """What is set when there is more; to be had before looking, so that nothing is missed."""
        return self._changed

    async def wait(self, change: asyncio.Event, seconds: float | None = None) -> None:
        """Wait for a change, but not longer than so many seconds."""
        if seconds is None:
            await change.wait()
        else:
            await self._herald.wait(change, seconds)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """A block in which the tail is kept up to date."""
        self.readers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name=TASK)
        try:
            yield
        finally:
            self.readers -= 1
            if self.readers == 0:
                self._task.cancel()
                self._task = None
                self._forget()

    def since(self, position: int) -> Window | None:
        """All events behind a position, wanted or not; None where not all of them are kept here."""
        if self.ledger_id is None or not self._behind <= position <= self._reached:
            return None
        first = bisect_right(self._entries, position, key=attrgetter("position"))
        return Window(self.ledger_id, self._reached, self._reached, self._entries[first:])

    async def _follow(self) -> None:
        self._herald.listen()
        while not self.stopping:
            word = self._herald.next_word
            try:
                while await self._advance():
                    self._tell()
            except UNAVAILABLE as error:
                log.warning("the ledger cannot be followed for now", reason=first_line(error))
            except Exception as error:
                log.error("following the ledger has stumbled", exc_info=error)
            await self._herald.wait(word)
        self._tell()

    async def _advance(self) -> bool:
        """Take in what is new, as far as one window goes; whether there was anything."""
        if self.ledger_id is None:
            head = await self._reads.run(read_head)
            self._begin(head.ledger_id, head.position)
            return True
        window = await self._reads.run(read_window, self._reached, EVERYTHING, EVENTS_AT_ONCE, self.mapper())
        if window.ledger_id != self.ledger_id or window.head < self._reached:
            self._forget()
            self._begin(window.ledger_id, window.head)
            return True
        if window.reached == self._reached:
            return False
        self._keep(window.entries)
        self._reached = window.reached
        if any(entry.topic in ERASURES for entry in window.entries):
            # What is kept in memory may hold what was erased; those who want it read for themselves.
            self._entries, self._size, self._behind = [], 0, self._reached
        return True

    def _begin(self, ledger_id: UUID, position: int) -> None:
        self.ledger_id = ledger_id
        self._behind = self._reached = position

    def _keep(self, entries: Sequence[Entry]) -> None:
        self._entries.extend(entries)
        self._size += sum(len(entry.document) for entry in entries)
        leave = 0
        while len(self._entries) - leave > self._most_kept or self._size > self._most_bytes:
            self._size -= len(self._entries[leave].document)
            self._behind = self._entries[leave].position
            leave += 1
        del self._entries[:leave]

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
