"""How far each follower has come in the log, and what it failed on. It is telemetry: no rule looks at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

STANDING = """
SELECT identity.id, coalesce((SELECT max(last_position) FROM ledger.seals), 0),
       ledger_id, position, attempts, failing_since, retry_at
FROM ledger.identity LEFT JOIN telemetry.followers ON name = %s
"""

BEGIN = """
INSERT INTO telemetry.followers (name, ledger_id, position, last_success) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET
    ledger_id = excluded.ledger_id, position = excluded.position, last_success = excluded.last_success,
    attempts = 0, failing_since = NULL, retry_at = NULL
"""

FORGET_SET_ASIDE = "DELETE FROM telemetry.set_aside WHERE follower = %s"

MOVE = """
UPDATE telemetry.followers
SET position = %s, last_success = %s, attempts = 0, failing_since = NULL, retry_at = NULL WHERE name = %s
"""

FAIL = """
UPDATE telemetry.followers
SET attempts = %(attempts)s, failing_since = coalesce(failing_since, %(at)s), retry_at = %(retry_at)s,
    last_failure = %(at)s, last_error = %(error)s
WHERE name = %(name)s
"""

SET_ASIDE = """
INSERT INTO telemetry.set_aside (follower, position, error, times, first_tried, last_tried)
SELECT name, %(position)s, %(error)s, %(attempts)s, failing_since, %(at)s
FROM telemetry.followers WHERE name = %(name)s
ON CONFLICT (follower, position) DO NOTHING
"""

ENTRIES = """
SELECT position, originator_id, originator_version, topic, state FROM ledger.events
WHERE position > %(after)s AND position <= %(upto)s AND topic = ANY(%(topics)s)
    AND (%(state_names)s::text[] IS NULL OR NOT topic = ANY(%(by_state)s)
        OR state::json #>> '{state,name}' = ANY(%(state_names)s))
ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a follower stands, behind the event of a position, and how often it failed on the one behind that."""

    ledger_id: UUID
    position: int
    attempts: int
    failing_since: datetime | None
    retry_at: datetime | None

    def at(self, position: int) -> "Place":
        """The place behind another event, with nothing failed."""
        return Place(self.ledger_id, position, 0, None, None)

    def waits(self, now: datetime) -> bool:
        """Whether it is too early to try again what failed."""
        return self.retry_at is not None and now < self.retry_at


@dataclass(frozen=True, slots=True)
class Standing:
    """Which ledger this is, the position of its head, and where a follower stands; None where it has never begun."""

    ledger_id: UUID
    head: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Window:
    """The next part of the log for a follower: behind a position, up to another, and which events of it are wanted.

    Of events of the topics `by_state` only those are wanted that set a state with one of `state_names`, if these are
    given. PostgreSQL looks at the topic first, and hands over the bodies of wanted events alone.
    """

    after: int
    upto: int
    topics: Sequence[str] = ()
    by_state: Sequence[str] = ()
    state_names: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the log at its position."""

    position: int
    stored: StoredEvent


async def read_standing(connection: AsyncConnection, name: str) -> Standing:
    """Where the log and a follower of it stand. One query, for it is asked all the time."""
    row = await (await connection.execute(STANDING, [name])).fetchone()
    if row is None:
        raise LookupError("The ledger has no identity")
    ledger_id, head, *place = row
    return Standing(ledger_id, head, None if place[0] is None else Place(*place))


async def begin(connection: AsyncConnection, name: str, ledger_id: UUID, position: int, now: datetime) -> None:
    """Let a follower begin behind a position of a ledger, whatever it knew of another one."""
    async with connection.transaction():
        await connection.execute(FORGET_SET_ASIDE, [name])
        await connection.execute(BEGIN, [name, ledger_id, position, now])


async def read_entries(connection: AsyncConnection, window: Window) -> list[Entry]:
    """The wanted events of a part of the log, in order. Positions may be missing: events are archived."""
    if not window.topics or window.after >= window.upto:
        return []
    asked = {
        "after": window.after,
        "upto": window.upto,
        "topics": list(window.topics),
        "by_state": list(window.by_state),
        "state_names": None if window.state_names is None else list(window.state_names),
    }
    rows = await (await connection.execute(ENTRIES, asked)).fetchall()
    return [
        Entry(position, StoredEvent(id, version, topic, state.encode())) for position, id, version, topic, state in rows
    ]


async def move(connection: AsyncConnection, name: str, position: int, now: datetime) -> None:
    """Note that a follower is done with all up to a position, in the transaction of what it did."""
    await connection.execute(MOVE, [position, now, name])


async def fail(
    connection: AsyncConnection, name: str, *, attempts: int, at: datetime, retry_at: datetime, error: str
) -> None:
    """Note that a follower failed on the next event, how often, and when it is tried again."""
    asked = {"name": name, "attempts": attempts, "at": at, "retry_at": retry_at, "error": error}
    await connection.execute(FAIL, asked)


async def set_aside(
    connection: AsyncConnection, name: str, position: int, *, attempts: int, at: datetime, error: str
) -> None:
    """Go past an event on which a follower failed once more, and keep that it did."""
    async with connection.transaction():
        await fail(connection, name, attempts=attempts, at=at, retry_at=at, error=error)
        asked = {"name": name, "position": position, "attempts": attempts, "at": at, "error": error}
        await connection.execute(SET_ASIDE, asked)
        await move(connection, name, position, at)
