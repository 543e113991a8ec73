"""The queue turns many callers into batches, answers each of them once, and tells them when the store is gone."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from api.command_queue import CommandQueue
from domain.commands.command import Made
from domain.commands.flows import CreateFlow
from domain.errors import StoreUnavailable
from domain.ids import new_id
from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from projections.schema import LEDGER_LOCK
from tests.checks import check_ledger
from tests.domain.conftest import CALLER


def create(name: str) -> CreateFlow:
    return CreateFlow(caller=CALLER, id=new_id(), name=name, tags=[], labels={})


def with_queue(conninfo: str, use: Callable[[CommandQueue], Awaitable[Any]], **options: Any) -> Any:
    """Let `use` have a running queue on the database, and stop it afterwards."""
    patience = options.pop("patience", 2.0)

    def open_ledger() -> Ledger:
        return Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo, patience=patience)))

    async def run() -> Any:
        queue = CommandQueue(open_ledger, patience=patience, **options)
        await queue.start()
        try:
            return await use(queue)
        finally:
            await queue.stop()

    return asyncio.run(run())


def transactions(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM ledger.seals").fetchone()
        return row[0] if row else 0


def test_commands_that_wait_for_the_lock_are_committed_as_one(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> list[Any]:
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
            futures = [queue.submit(create(f"flow-{n}")) for n in range(50)]
            other.execute("SELECT pg_advisory_unlock(%s)", [LEDGER_LOCK])
        return await asyncio.gather(*futures)

    answers = with_queue(conninfo, use)

    assert all(isinstance(answer, Made) and answer.created for answer in answers)
    assert transactions(conninfo) == 1
    assert check_ledger(conninfo) == 50


def test_a_batch_takes_no_more_than_it_may(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> None:
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
            futures = [queue.submit(create(f"flow-{n}")) for n in range(50)]
            other.execute("SELECT pg_advisory_unlock(%s)", [LEDGER_LOCK])
        await asyncio.gather(*futures)

    with_queue(conninfo, use, batch_size=20)
    assert transactions(conninfo) == 3


def test_callers_are_told_when_the_lock_is_never_given_and_later_ones_are_served(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> None:
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
            with pytest.raises(StoreUnavailable):
                await queue.execute(create("never"))
        answer = await queue.execute(create("later"))
        assert isinstance(answer, Made)

    with_queue(conninfo, use, patience=0.2)
    assert check_ledger(conninfo) == 1


def test_callers_are_told_when_the_ledger_thread_hangs(conninfo: str) -> None:
    release = threading.Event()

    def hangs() -> Ledger:
        release.wait()
        return Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)))

    async def use() -> None:
        queue = CommandQueue(hangs, give_up=0.1)
        await queue.start()
        with pytest.raises(StoreUnavailable) as failure:
            await queue.execute(create("hangs"))
        assert failure.value.outcome_unknown
        release.set()
        await queue.stop()

    asyncio.run(use())


def test_more_than_the_line_holds_is_refused_at_once(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.command_queue.CAPACITY", 3)

    async def use(queue: CommandQueue) -> None:
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
            futures = [queue.submit(create(f"flow-{n}")) for n in range(3)]
            with pytest.raises(StoreUnavailable, match="too many"):
                queue.submit(create("one too many"))
            other.execute("SELECT pg_advisory_unlock(%s)", [LEDGER_LOCK])
        await asyncio.gather(*futures)

    with_queue(conninfo, use)
    assert check_ledger(conninfo) == 3


def test_what_waits_is_answered_before_the_queue_stops(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> list[Any]:
        futures = [queue.submit(create(f"flow-{n}")) for n in range(20)]
        await queue.stop()
        return [await future for future in futures]

    assert len(with_queue(conninfo, use)) == 20
    assert check_ledger(conninfo) == 20


def test_a_queue_that_stops_takes_no_more(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> None:
        await queue.stop()
        with pytest.raises(StoreUnavailable, match="stopping"):
            queue.submit(create("late"))

    with_queue(conninfo, use)


def test_a_command_whose_caller_was_sent_away_is_dropped(conninfo: str) -> None:
    async def use(queue: CommandQueue) -> None:
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LEDGER_LOCK])
            gone, kept = queue.submit(create("gone")), queue.submit(create("kept"))
            gone.cancel()
            other.execute("SELECT pg_advisory_unlock(%s)", [LEDGER_LOCK])
        await kept

    with_queue(conninfo, use)
    assert check_ledger(conninfo) == 1
