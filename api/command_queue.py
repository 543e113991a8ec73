"""From many asynchronous callers to batches on the one ledger thread of this process.

A caller submits a command and waits for its answer. The thread takes whatever waits once it holds the ledger lock, so
throughput grows with load instead of with commits.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from api.metrics import COMMANDS, Distribution
from domain.answers import Outcome
from domain.commands.command import Answer, Command
from domain.errors import ForeignShape, StoreUnavailable
from domain.ledger import Ledger

CAPACITY = 10_000
"""Most commands that may wait; beyond that callers are told to come back."""

CAPACITY_BYTES = 128 * 1024 * 1024
"""Most bytes that the bodies of waiting commands may have together."""

BATCH_BYTES = 4 * 1024 * 1024
"""How large the bodies of one batch become, unless its first is larger: others need not wait for many large ones."""

SWEEP_SECONDS = 0.5

log = structlog.get_logger(__name__)


class _Waiting:
    """One command, the size of the body it came in, the future its caller awaits, and since when (monotonic seconds).

    A future that is done already is that of a caller who was told to come back, or who went: its command is dropped.
    """

    __slots__ = ("command", "future", "since", "size")

    def __init__(self, command: Command, size: int, future: "asyncio.Future[Answer]") -> None:
        self.command = command
        self.size = size
        self.future = future
        self.since = time.monotonic()


class CommandQueue:
    """The ledger thread and what waits for it.

    `patience` is how many seconds a command may wait for a store that does not answer; `give_up` is after how many
    seconds without any progress callers are told so although the thread hangs in a call. `committed` is called, on the
    event loop, after every batch of which something may have been committed. `batches` takes note of how many commands
    were decided at a time.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        *,
        batch_size: int = 300,
        patience: float = 2.0,
        give_up: float = 5.0,
        committed: Callable[[], None] | None = None,
        batches: Distribution | None = None,
    ) -> None:
        self._open_ledger = open_ledger
        self._batch_size = batch_size
        self._patience = patience
        self._give_up = give_up
        self._committed = committed
        self._batches = batches or Distribution(COMMANDS)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._progress = time.monotonic()
        self._clearings: deque[asyncio.Future[None]] = deque()
        self._pending: dict[asyncio.Future[Any], int] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many commands wait to be decided."""
        return len(self._waiting)

    async def start(self) -> None:
        """Start the ledger thread; callers are answered on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Answer what waits, then end the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._give_up)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def execute(self, command: Command, size: int = 0) -> Answer:
        """The answer to a command, once it is durable. Raises the LedgerError that it failed with."""
        return await self.submit(command, size)

    def submit(self, command: Command, size: int = 0) -> "asyncio.Future[Answer]":
        """Put a command in line; the future gets its answer or its error. Raises StoreUnavailable when it is full."""
        if self._stopping:
            raise StoreUnavailable("the server is stopping")
        if len(self._waiting) >= CAPACITY or (self._waiting and self._waiting_bytes + size > CAPACITY_BYTES):
            raise StoreUnavailable("too many commands are waiting")
        future: asyncio.Future[Answer] = self._loop.create_future()
        waiting = _Waiting(command, size, future)
        if not self._pending:
            self._progress = waiting.since
        self._pending[future] = size
        self._waiting_bytes += size
        self._waiting.append(waiting)
        self._wake.set()
        return future

    async def clear(self) -> None:
        """Empty the ledger, between two batches. Raises StoreUnavailable."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._clearings.append(future)
        self._wake.set()
        await future

    def _run(self) -> None:
        ledger = self._open_ledger()
        while not (self._stopping and not self._waiting):
            self._wake.wait()
            self._wake.clear()
            while self._clearings:
                self._clear(ledger, self._clearings.popleft())
            while self._waiting:
                self._execute_waiting(ledger)
        ledger.close()

    def _clear(self, ledger: Ledger, future: "asyncio.Future[None]") -> None:
        try:
            ledger.clear()
        except Exception as error:
            self._loop.call_soon_threadsafe(future.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(future.set_result, None)

    def _execute_waiting(self, ledger: Ledger) -> None:
        taken: list[_Waiting] = []

        def take() -> list[Command]:
            size = 0
            while self._waiting and len(taken) < self._batch_size:
                size += self._waiting[0].size
                if taken and size > BATCH_BYTES:
                    break
                waiting = self._waiting.popleft()
                if not waiting.future.done():
                    taken.append(waiting)
            return [waiting.command for waiting in taken]

        try:
            outcomes = ledger.execute(take)
        except StoreUnavailable as error:
            self._put_off(taken, error)
        except Exception as error:
            if not isinstance(error, ForeignShape):
                log.exception("a batch of commands failed", commands=len(taken))
            self._fail([*taken, *self._take_all()], error)
        else:
            self._batches.note(len(taken))
            self._post([(waiting.future, outcome) for waiting, outcome in zip(taken, outcomes, strict=True)])

    def _put_off(self, taken: list[_Waiting], error: StoreUnavailable) -> None:
        """Try again with those that have waited less than the patience, and fail the others.

        What may have happened already is not tried again: it would happen twice.
        """
        if error.outcome_unknown:
            self._fail(taken, error)
        else:
            self._waiting.extendleft(reversed(taken))
        oldest = time.monotonic() - self._patience
        impatient = []
        while self._waiting and self._waiting[0].since < oldest:
            impatient.append(self._waiting.popleft())
        self._fail(impatient, error)
        if self._waiting and not self._stopping:
            self._wake.wait(0.05)
        elif self._stopping:
            self._fail(self._take_all(), error)

    def _take_all(self) -> list[_Waiting]:
        everything = []
        while self._waiting:
            everything.append(self._waiting.popleft())
        return everything

    def _fail(self, those: list[_Waiting], error: Exception) -> None:
        self._post([(waiting.future, Outcome(waiting.command, error=error)) for waiting in those])

    def _post(self, results: "list[tuple[asyncio.Future[Answer], Outcome]]") -> None:
        if results:
            self._loop.call_soon_threadsafe(self._deliver, results)

    def _deliver(self, results: "list[tuple[asyncio.Future[Answer], Outcome]]") -> None:
        self._progress = time.monotonic()
        if self._committed is not None:
            self._committed()
        for future, outcome in results:
            self._waiting_bytes -= self._pending.pop(future, 0)
            if future.done():
                continue
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.answer)

    async def _sweep(self) -> None:
        """Answer all callers when the thread has made no progress for too long, as it does when the store hangs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if time.monotonic() - self._progress < self._give_up:
                continue
            error = StoreUnavailable("no answer in time", outcome_unknown=True)
            for future in list(self._pending):
                self._waiting_bytes -= self._pending.pop(future)
                if not future.done():
                    future.set_exception(error)
