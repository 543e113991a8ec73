"""A load of so many requests a second, however long the answers take: what users at their own pace are like.

Latencies count from when a request was due, so that one that had to wait for others is not taken for a quick one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple

from scripts.benchmarking.http_answer import read_answer
from scripts.benchmarking.load import Chain, LoadFailed, Step
from scripts.benchmarking.measurement import percentile

CONNECTIONS = 64
_RECEIVE_BYTES = 1 << 16


class Answered(NamedTuple):
    """When a request was due, in seconds of time.monotonic(), and how many seconds later its answer was there."""

    due: float
    latency: float


@dataclass
class PacedResult:
    """What a load met: the good answers, how many were bad and what the first of those said, and if it ran dry."""

    answered: list[Answered] = field(default_factory=list)
    bad: int = 0
    first_problem: str | None = None
    ran_dry: bool = False

    def within(self, begin: float, end: float) -> list[float]:
        """The latencies of the requests that were due between two times, in ascending order."""
        return sorted(one.latency for one in self.answered if begin <= one.due < end)


def milliseconds(latencies: list[float], share: float) -> float:
    """The latency that a share of them does not exceed, in milliseconds."""
    return 1000 * percentile(latencies, share)


@contextmanager
def under_load(address: tuple[str, int], chains: Sequence[Chain], per_second: float) -> Iterator[PacedResult]:
    """Have chains worked off at this pace by another process for the time of a block; the result is full afterwards.

    Raises LoadFailed when that process ends before its time.
    """
    result = PacedResult()
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, address, chains, per_second), daemon=True)
    process.start()
    there.close()
    try:
        yield result
        # Where the load ran dry, nobody listens any more.
        with suppress(OSError):
            here.send(None)
        met: PacedResult = here.recv()
    except EOFError:
        raise LoadFailed("its process ended without a result") from None
    finally:
        process.terminate()
        process.join()
    result.__dict__.update(met.__dict__)


def _work(pipe: Pipe, address: tuple[str, int], chains: Sequence[Chain], per_second: float) -> None:
    pipe.send(asyncio.run(_Pacer(address, chains, per_second).run(pipe)))


class _Pacer:
    """Takes the next step of the chain that has waited longest, whenever a request is due."""

    def __init__(self, address: tuple[str, int], chains: Sequence[Chain], per_second: float) -> None:
        self._address = address
        self._ready = deque((chain, 0) for chain in chains)
        self._interval = 1 / per_second
        self._result = PacedResult()
        self._connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def run(self, pipe: Pipe) -> PacedResult:
        for _ in range(CONNECTIONS):
            self._connections.put_nowait(await asyncio.open_connection(*self._address))
        due = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        while not pipe.poll():
            if not self._ready and under_way:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                continue
            if not self._ready:
                self._result.ran_dry = True
                break
            chain, place = self._ready.popleft()
            task = asyncio.create_task(self._ask(chain, place, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += self._interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*under_way)
        return self._result

    async def _ask(self, chain: Chain, place: int, due: float) -> None:
        step = chain[place]
        connection = await self._connections.get()
        try:
            problem = await _exchange(*connection, step)
        except OSError as error:
            problem = f"the connection broke: {error}"
        if problem is None:
            self._connections.put_nowait(connection)
            self._result.answered.append(Answered(due, time.monotonic() - due))
            if place + 1 < len(chain):
                self._ready.append((chain, place + 1))
            return
        self._result.bad += 1
        self._result.first_problem = self._result.first_problem or problem
        connection[1].close()
        self._connections.put_nowait(await asyncio.open_connection(*self._address))


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: Step) -> str | None:
    """One request and its answer; what is wrong with it, or None."""
    writer.write(step.request)
    received = b""
    while (answer := read_answer(received)) is None:
        piece = await reader.read(_RECEIVE_BYTES)
        if not piece:
            return "the server closed the connection without an answer"
        received += piece
    if answer.status != step.status or step.text not in answer.body:
        return f"expected {step.status} with {step.text!r}, got {answer.status} with {answer.body[:300]!r}"
    return None
