"""The newest events are read once for all readers, and no reader misses one, however far behind it is."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api import ledger_tail
from api.herald import Herald, listening_connection
from api.ledger_tail import TASK, LedgerTail
from api.reads import Reads
from api.routes.ledger_feed import Reader
from domain.commands.erasure import ErasePayload
from domain.commands.flows import CreateFlow
from domain.events import EventMapper
from domain.ids import new_id
from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.head import read_head
from projections.ledger_feed import Wanted, Window, read_window
from projections.payload_keys.store import StoredKeys
from projections.recorder import PostgresLedgerRecorder
from tests.domain.conftest import CALLER, Clock, create_flow_run, proposed
from tests.support.payload_keys import KeysInMemory


class Place:
    """A ledger that is written and followed in one process."""

    def __init__(self, conninfo: str, reads: Reads, herald: Herald, tail: LedgerTail, ledger: Ledger) -> None:
        self.reads, self.herald, self.tail, self.ledger = reads, herald, tail, ledger

    def write(self, number: int) -> None:
        flows = [
            CreateFlow(caller=CALLER, id=(id := new_id()), name=str(id), tags=[], labels={}) for _ in range(number)
        ]
        self.ledger.execute(lambda: flows)
        self.herald.tell()

    async def reader(self, after: int = 0) -> Reader:
        head = await self.reads.run(read_head)
        return Reader(self.reads, self.tail, Wanted(), after, head.ledger_id)


def following(conninfo: str, use: Callable[[Place], Awaitable[Any]], **limits: int) -> Any:
    async def run() -> Any:
        reads = Reads(conninfo, size=3, timeout=5.0, patience=2.0)
        herald = Herald(reads, lambda: listening_connection(conninfo))
        await reads.open()
        await herald.start()
        try:
            with Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=Clock()) as ledger:
                tail = LedgerTail(reads, herald, **limits)
                return await use(Place(conninfo, reads, herald, tail, ledger))
        finally:
            await herald.stop()
            await reads.close()

    return asyncio.run(run())


def positions(chunk: bytes) -> list[int]:
    return [int(line[4:]) for line in chunk.split(b"\n") if line.startswith(b"id: ")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=8), st.integers(1, 6))
def test_attentive_and_slow_readers_get_every_event_once_in_order(
    conninfo: str, steps: list[tuple[int, int]], most_kept: int
) -> None:
    async def use(place: Place) -> None:
        head = (await place.reads.run(read_head)).position
        written, begin = head, head
        quick, slow = [(await place.reader(begin)).chunks() for _ in range(2)]
        by_quick: list[int] = []
        by_slow: list[int] = []
        for number, takes in [*steps, (1, 0)]:
            place.write(number)
            written += number
            while (by_quick or [begin])[-1] < written:
                by_quick += positions(await anext(quick))
            for _ in range(takes):
                if (by_slow or [begin])[-1] < written:
                    by_slow += positions(await anext(slow))
        while (by_slow or [begin])[-1] < written:
            by_slow += positions(await anext(slow))
        assert by_quick == by_slow == list(range(begin + 1, written + 1))
        await quick.aclose()
        await slow.aclose()
        assert place.tail.readers == 0

    following(conninfo, use, most_kept=most_kept)


def test_what_is_new_is_read_once_for_all_readers(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def counted(connection: Any, after: int, *more: Any) -> Window:
        window = await read_window(connection, after, *more)
        asked.extend(entry.position for entry in window.entries)
        return window

    monkeypatch.setattr(ledger_tail, "read_window", counted)

    async def use(place: Place) -> None:
        readers = [(await place.reader()).chunks() for _ in range(20)]
        place.write(1)
        first = await asyncio.gather(*map(anext, readers))
        place.write(1)
        second = await asyncio.gather(*map(anext, readers))
        assert {tuple(positions(chunk)) for chunk in first} == {(1,)}
        assert {tuple(positions(chunk)) for chunk in second} == {(2,)}
        assert asked.count(2) == 1
        for reader in readers:
            await reader.aclose()

    following(conninfo, use)


def test_the_tail_keeps_no_more_than_it_may(conninfo: str) -> None:
    async def use(place: Place) -> None:
        reader = (await place.reader()).chunks()
        place.write(1)
        await anext(reader)
        place.write(50)
        got = 1
        while got < 51:
            got += len(positions(await anext(reader)))
        kept = place.tail.since(51 - 10)
        assert kept is not None
        assert len(kept.entries) == 10
        assert place.tail.since(51 - 11) is None
        await reader.aclose()
        assert place.tail.since(51) is None

    following(conninfo, use, most_kept=10)


def test_who_leaves_as_something_is_written_leaves_nothing_going_on(conninfo: str) -> None:
    async def use(place: Place) -> None:
        for turns in range(6):
            reader = (await place.reader()).chunks()
            place.write(1)
            await anext(reader)
            # The word comes together with the end.
            place.herald.next_word.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            await reader.aclose()
            going_on = [task for task in asyncio.all_tasks() if task.get_name() == TASK]
            assert not going_on or not (await asyncio.wait(going_on, timeout=5))[1]

    following(conninfo, use)


def test_what_was_erased_is_not_kept_in_memory_for_those_who_come_late(conninfo: str) -> None:
    keys = KeysInMemory()

    async def use(place: Place) -> None:
        recorder = PostgresLedgerRecorder(LedgerConnection(conninfo))
        place.tail.mapper = lambda: EventMapper(StoredKeys(keys))
        with Ledger(recorder, clock=Clock(), keyring=keys.ring) as ledger:
            place.ledger = ledger
            place.write(1)
            quick = (await place.reader()).chunks()
            await anext(quick)
            (flow_id,) = ledger._cache
            made = create_flow_run(flow_id, state=proposed("COMPLETED"), parameters={"p": "a secret"})
            ledger.execute(lambda: [made])
            place.herald.tell()
            assert b"a secret" in b"".join([await anext(quick)])
            ledger.execute(lambda: [ErasePayload(caller=CALLER, id=made.id)])
            keys.destroy(made.id)
            place.herald.tell()
            assert b"PayloadErased" in await anext(quick)
            late, told = (await place.reader(after=1)).chunks(), b""
            while b"PayloadErased" not in told:
                told += await anext(late)
            assert b"a secret" not in told
            await quick.aclose()
            await late.aclose()

    following(conninfo, use)
