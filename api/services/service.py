"""What a service is: work in the background that comes up again and again, done by one process at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection

from api.command_queue import CommandQueue
from api.settings import Settings
from domain.commands.command import Answer, Caller, Command
from domain.errors import ForeignShape, LedgerError, StoreUnavailable


@dataclass(frozen=True)
class Tools:
    """What one round works with. `connection`, in autocommit, is the round's own: it reads there, and writes telemetry.

    What is state changes through `execute` alone, for `caller`, which names the service.
    """

    connection: AsyncConnection
    queue: CommandQueue
    settings: Settings
    caller: Caller

    async def execute(self, command: Command) -> Answer:
        """The answer to a command, once it is durable. Raises the LedgerError that it failed with."""
        return await self.queue.execute(command)

    async def execute_each(self, commands: Iterable[Command]) -> list[Answer | Exception]:
        """The answers to commands that have nothing to do with each other; one that failed has its error for answer.

        What a round has read may have changed by now, so that some fail. Raises StoreUnavailable and ForeignShape.
        """
        outcomes: list[Answer | Exception] = []
        for outcome in await asyncio.gather(*map(self.queue.execute, commands), return_exceptions=True):
            if isinstance(outcome, StoreUnavailable | ForeignShape):
                raise outcome
            if isinstance(outcome, BaseException) and not isinstance(outcome, LedgerError):
                raise outcome
            outcomes.append(outcome)
        return outcomes


Round = Callable[[Tools, datetime], Awaitable[str]]
"""Does what there is to do as of a time, and tells in a few words what it did."""


@dataclass(frozen=True)
class Service:
    """A service by its name, with how many seconds pass from the begin of one round to the begin of the next.

    One that is `woken` by the word of a commit does not wait that long when there is one.
    """

    name: str
    interval: float
    round: Round
    woken: bool = False


def actor_of(service: str) -> str:
    """The name under which the events of a service are recorded."""
    return f"flowledger/{service}"
