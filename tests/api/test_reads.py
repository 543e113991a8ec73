"""Reads survive dead connections, give up on a database that hangs, and share queries by id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from api.reads import MOST_IDS, Gathered, Reads
from domain.errors import StoreUnavailable


def with_reads(conninfo: str, use: Callable[[Reads], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        reads = Reads(conninfo, **{"size": 3, "timeout": 5.0, "patience": 2.0, **options})
        await reads.open()
        try:
            return await use(reads)
        finally:
            await reads.close()

    return asyncio.run(run())


async def answer(connection: AsyncConnection, number: int) -> int:
    row = await (await connection.execute("SELECT %s::int", [number])).fetchone()
    assert row is not None
    return int(row[0])


async def documents(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, bytes]:
    return {id: str(len(ids)).encode() for id in ids if id.int % 2}


def test_connections_that_died_with_their_database_cost_no_reader_an_answer(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        assert await asyncio.gather(*(reads.run(answer, n) for n in range(9))) == list(range(9))
        with psycopg.connect(conninfo, autocommit=True) as other:
            kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
            killed = other.execute(kill, ["flowledger-reads"]).fetchone()
            assert killed is not None
            assert killed[0] > 0
        assert await asyncio.gather(*(reads.run(answer, n) for n in range(9))) == list(range(9))

    with_reads(conninfo, use)


def test_a_query_that_takes_too_long_is_cancelled_by_the_database(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        async def slow(connection: AsyncConnection) -> None:
            await connection.execute("SELECT pg_sleep(60)")

        with pytest.raises(psycopg.errors.QueryCanceled):
            await reads.run(slow)
        assert await reads.run(answer, 1) == 1

    with_reads(conninfo, use, timeout=0.2)


async def locked(connection: AsyncConnection) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(1)")


def test_callers_are_told_when_the_database_hangs_and_later_ones_are_served(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(StoreUnavailable):
                await reads.run(locked)
            with pytest.raises(PoolTimeout):
                await reads.run(answer, 1)
        # The only connection comes back once the database is done with what the first caller asked.
        assert await reads.run(answer, 1) == 1

    with_reads(conninfo, use, give_up=0.5, size=1)


def test_a_caller_that_goes_away_leaves_a_connection_that_serves_others(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        with psycopg.connect(conninfo) as other:
            other.execute("SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reads.run(locked), 0.5)
        assert await reads.run(answer, 1) == 1

    with_reads(conninfo, use, size=1)


def test_reads_that_wait_together_share_a_query(conninfo: str) -> None:
    ids = [UUID(int=n) for n in range(1, 2 * MOST_IDS, 2)]

    async def use(reads: Reads) -> list[bytes | None]:
        gathered = Gathered(reads, documents)
        return await asyncio.gather(*(gathered.read(id) for id in ids))

    assert set(with_reads(conninfo, use)) == {str(MOST_IDS).encode()}


def test_what_is_not_there_is_none_and_twice_the_same_id_is_answered_twice(conninfo: str) -> None:
    async def use(reads: Reads) -> list[bytes | None]:
        gathered = Gathered(reads, documents)
        return await asyncio.gather(*(gathered.read(UUID(int=n)) for n in (1, 2, 1)))

    first, missing, again = with_reads(conninfo, use)
    assert missing is None
    assert first == again is not None


def test_a_query_that_fails_fails_for_all_that_share_it_and_for_nobody_later(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        broken = True

        async def sometimes(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, bytes]:
            if broken:
                raise psycopg.DataError("broken")
            return {id: b"{}" for id in ids}

        gathered = Gathered(reads, sometimes)
        outcomes = await asyncio.gather(*(gathered.read(uuid4()) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(outcome, psycopg.DataError) for outcome in outcomes)
        broken = False
        assert await gathered.read(uuid4()) == b"{}"

    with_reads(conninfo, use)


async def backend(connection: AsyncConnection) -> int:
    return connection.info.backend_pid


def test_the_connection_that_was_used_last_is_the_next(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        async def held(connection: AsyncConnection, others: int) -> int:
            if others:
                await reads.run(held, others - 1)
            return await backend(connection)

        last = await reads.run(held, 2)
        assert [await reads.run(backend) for _ in range(5)] == [last] * 5
        assert reads.usage()["pool_size"] == 3
        assert reads.usage()["pool_available"] == 3

    with_reads(conninfo, use)


def test_who_waits_for_a_connection_gets_the_next_that_is_given_back(conninfo: str) -> None:
    async def use(reads: Reads) -> None:
        waiting: list[asyncio.Task[int]] = []

        async def asked_meanwhile(connection: AsyncConnection) -> None:
            waiting.extend(asyncio.create_task(reads.run(answer, n)) for n in range(5))
            await connection.execute("SELECT 1")

        await reads.run(asked_meanwhile)
        assert await asyncio.gather(*waiting) == list(range(5))

    with_reads(conninfo, use, size=1)


def test_a_connection_that_was_kept_for_long_goes_back_to_the_pool(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.reads.KEPT_SECONDS", -1.0)

    async def use(reads: Reads) -> None:
        assert [await reads.run(answer, n) for n in range(3)] == [0, 1, 2]
        assert reads.usage()["requests_num"] == 3

    with_reads(conninfo, use)
