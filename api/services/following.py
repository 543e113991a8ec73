"""Following the log: doing something about every event, behind its commit, from a stored position on, at least once.

A follower's position is stored in the transaction of what it did, so that neither is there without the other; a process
that dies in between does it again. One that begins begins at the head, for nobody asked for what was before; so it is
with a ledger that was emptied or put in the place of another. Read tables are not looked at: rebuilding them says
nothing new to anyone. The transactions are not waited for to be durable (see `Shift`): a power cut may take the last of
them, position and deeds together.

The library's tracking recorder stores a position with what was done, as here, but one event at a time, over a
synchronous connection pool of its own. Its subscriptions pull in threads of every process, woken by what its own insert
statement notifies, which this ledger does not use; neither knows of one active instance a name or of setting aside.

An event that a follower fails on stops it for a while, longer each time, and is then set aside for people to look at;
other followers know nothing of it. A database that does not answer says nothing about an event.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from psycopg import AsyncConnection

from api.errors import UNAVAILABLE
from api.services.service import Tools
from projections import followers
from projections.connection import first_line
from projections.followers import Entry, Place, Window

ATTEMPTS = 5
"""How often an event is tried before it is set aside."""

FIRST_PAUSE = timedelta(seconds=0.1)
"""How long it is waited behind the first failure; three times as long behind each further one, 4 seconds in all."""

log = structlog.get_logger(__name__)


class Follower(Protocol):
    """What is done about events.

    It may keep in memory what it has folded of the log, as of the position that it was asked about last.
    """

    name: str

    async def look_ahead(self, connection: AsyncConnection, after: int, head: int) -> Window:
        """What it wants next of the log behind a position; the window ends before what it wants changes."""

    async def take(self, connection: AsyncConnection, entry: Entry, now: datetime) -> None:
        """Do what there is to do about one wanted event, in the transaction that is open."""

    def forget(self) -> None:
        """Forget what is kept in memory: the transaction was rolled back, or another process went on meanwhile."""

    def told(self) -> None:
        """Know that what was done is committed."""


class Following:
    """The rounds of one follower in one process: each goes on to the head, as it was when the round began."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._connection: AsyncConnection | None = None

    async def __call__(self, tools: Tools, now: datetime) -> str:
        follower, connection = self._follower, tools.connection
        if connection is not self._connection:
            # The lock was taken anew; who knows who held it meanwhile.
            follower.forget()
            self._connection = connection
        standing = await followers.read_standing(connection, follower.name)
        place, head = standing.place, standing.head
        if place is None or place.ledger_id != standing.ledger_id:
            follower.forget()
            await followers.begin(connection, follower.name, standing.ledger_id, head, now)
            return f"began at position {head}"
        first, taken = place.position, 0
        while place.position < head and not place.waits(now):
            number, place = await self._step(connection, place, head, now)
            taken += number
        return f"took {taken} events behind position {first}"

    async def _step(self, connection: AsyncConnection, place: Place, head: int, now: datetime) -> tuple[int, Place]:
        """Take the events of one window; how many that were, and where the follower stands then."""
        window = await self._follower.look_ahead(connection, place.position, head)
        entries = await followers.read_entries(connection, window)
        upto = window.upto
        while True:
            failed = await self._take(connection, entries, upto, now)
            if failed is None:
                return len(entries), place.at(upto)
            entry, failure = failed
            if entry.position > place.position + 1:
                # Those before it are taken without it; it comes first in the next window.
                upto, entries = entry.position - 1, [each for each in entries if each.position < entry.position]
                await self._follower.look_ahead(connection, place.position, head)
                continue
            return 0, await self._fail(connection, place, entry, failure, now)

    async def _take(
        self, connection: AsyncConnection, entries: list[Entry], upto: int, now: datetime
    ) -> tuple[Entry, Exception] | None:
        """Take events and note the position, or nothing of that; the event that failed, and how."""
        current: Entry | None = None
        try:
            async with connection.transaction():
                for current in entries:
                    await self._follower.take(connection, current, now)
                await followers.move(connection, self._follower.name, upto, now)
        except BaseException as failure:
            self._follower.forget()
            if current is None or isinstance(failure, UNAVAILABLE) or not isinstance(failure, Exception):
                raise
            return current, failure
        if entries:
            self._follower.told()
        return None

    async def _fail(
        self, connection: AsyncConnection, place: Place, entry: Entry, failure: Exception, now: datetime
    ) -> Place:
        """Note a failure; where the follower stands then."""
        attempts = place.attempts + 1
        error = f"{type(failure).__name__}: {first_line(failure)}"
        name = self._follower.name
        log.error("a follower failed on an event", follower=name, position=entry.position, exc_info=failure)
        if attempts < ATTEMPTS:
            retry_at = now + pause_behind(attempts)
            await followers.fail(connection, name, attempts=attempts, at=now, retry_at=retry_at, error=error)
            return replace(place, attempts=attempts, failing_since=place.failing_since or now, retry_at=retry_at)
        await followers.set_aside(connection, name, entry.position, attempts=attempts, at=now, error=error)
        return place.at(entry.position)


def pause_behind(attempts: int) -> timedelta:
    """How long an event is left alone after so many attempts in vain."""
    return FIRST_PAUSE * float(3 ** (attempts - 1))
