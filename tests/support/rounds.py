"""Rounds of services as of times that a test says, on a ledger whose clock is the test's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from psycopg import AsyncConnection

from api.command_queue import CommandQueue
from api.services.service import Round, Tools, actor_of
from api.settings import Settings
from domain.commands.command import Caller
from domain.ledger import Ledger
from projections.connection import LedgerConnection
from projections.recorder import PostgresLedgerRecorder
from tests.domain.conftest import Clock

T = TypeVar("T")


def with_tools(conninfo: str, clock: Clock, use: Callable[[Tools], Awaitable[T]], **settings: Any) -> T:
    """Let `use` have the tools of a service, and put them away afterwards."""

    async def run() -> T:
        queue = CommandQueue(lambda: Ledger(PostgresLedgerRecorder(LedgerConnection(conninfo)), clock=clock))
        await queue.start()
        try:
            async with await AsyncConnection.connect(conninfo, autocommit=True) as connection:
                caller = Caller(actor_of("a-test"), "prefect-3")
                return await use(Tools(connection, queue, Settings(**settings), caller))
        finally:
            await queue.stop()

    return asyncio.run(run())


def do_round(conninfo: str, clock: Clock, round: Round, **settings: Any) -> str:
    """Do one round as of the time of the clock, and give what it says it did."""

    async def use(tools: Tools) -> str:
        return await round(tools, clock())

    return with_tools(conninfo, clock, use, **settings)
