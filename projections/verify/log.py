"""Checks along the log: positions, times, and the chain of seals."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from pydantic_core import from_json

from projections.seals import GENESIS, Digest
from projections.verify.findings import Check, Finding, Found, Part, numbers
from projections.verify.scene import ROWS_PER_PART, Scene, rows

POSITIONS = Check("positions", "events", "Positions count from 1 without gaps, of events here and in archives.")
TIMES = Check("times", "events and seals", "The times at which events were recorded never go back along the log.")
SEALS = Check("seals", "seals", "Seals cover every event once, in order, and each has the hash of what it covers.")

FIRST = -(2**63)

_BOUNDS = """
SELECT position FROM (
    SELECT position, row_number() OVER (ORDER BY position) AS number
    FROM (SELECT position FROM ledger.events UNION ALL SELECT position FROM ledger.archived) AS place
) AS event
WHERE number %% %s = 0 ORDER BY position
"""

_SEAL_BEFORE = """
SELECT last_position, hash, recorded_at FROM ledger.seals WHERE last_position <= %s ORDER BY last_position DESC LIMIT 1
"""

_SEALS = """
SELECT first_position, last_position, recorded_at, hash, formula FROM ledger.seals
WHERE last_position > %s AND last_position <= coalesce(%s, 9223372036854775807) ORDER BY last_position
"""

_UNSEALED = """
SELECT min(position), max(position)
FROM (SELECT position FROM ledger.events UNION ALL SELECT position FROM ledger.archived) AS place
WHERE position > (SELECT coalesce(max(last_position), 0) FROM ledger.seals)
"""

EVENTS_AND_LEAVES = """
SELECT position, originator_id::text, originator_version, topic, state, NULL::bytea AS leaf FROM ledger.events
WHERE position >= %(first)s AND position <= coalesce(%(last)s, 9223372036854775807)
UNION ALL
SELECT position, originator_id::text, originator_version, NULL, NULL, leaf FROM ledger.archived
WHERE position >= %(first)s AND position <= coalesce(%(last)s, 9223372036854775807)
ORDER BY position
"""
"""The events at some positions, and the leaves of those that are in archives."""


def check_log(scene: Scene) -> Iterator[Part]:
    """What is found of positions, times and seals, part by part."""
    bounds = [row[0] for row in scene.connection.execute(_BOUNDS, [ROWS_PER_PART])]
    yield from scene.look(look_at_log, list(zip([FIRST, *bounds], [*bounds, None], strict=True)))
    yield {SEALS.name: look_behind_seals(scene.connection)}


def look_behind_seals(connection: psycopg.Connection) -> Found:
    """What is found behind the last seal, where nothing should be."""
    found = Found()
    row = connection.execute(_UNSEALED).fetchone()
    if row is not None and row[0] is not None:
        sentence = f"No seal covers {numbers(*row)}, at the end of the log: it was added, or its seal removed."
        found.add(Finding(sentence, *row))
    return found


def look_at_log(connection: psycopg.Connection, after: int, until: int | None) -> Part:
    """What is found between two positions, without an end up to the last one.

    A seal that covers events of two parts is checked with the one it ends in.
    """
    part = _Log(connection, after, until)
    part.look()
    return {POSITIONS.name: part.positions, TIMES.name: part.times, SEALS.name: part.seals}


class _Log:
    """A look at one part of the log, position by position.

    `recorded` is the time of the event or seal that comes before, `position` that of the event before.
    """

    def __init__(self, connection: psycopg.Connection, after: int, until: int | None) -> None:
        self.positions, self.times, self.seals = Found(), Found(), Found()
        self._connection = connection
        self._after, self._until = after, until
        self._position = 0 if after == FIRST else after
        self._recorded: datetime | None = None
        self._ahead: Any = None

    def look(self) -> None:
        before = self._connection.execute(_SEAL_BEFORE, [self._after]).fetchone()
        sealed, hash, self._recorded = before or (0, GENESIS, None)
        seals = rows(self._connection, "seals", _SEALS, [self._after, self._until])
        seal = next(seals, None)
        # Where seals are missing there may be many events that no seal here can be held against.
        begins = sealed + 1 if seal is not None and seal[0] == sealed + 1 else self._after + 1
        # The time of the event before is that of its seal, where it has one.
        start = begins if begins == sealed + 1 and self._after != FIRST else self._after
        self._events = rows(self._connection, "log", EVENTS_AND_LEAVES, {"first": start, "last": self._until})
        self._advance()
        while self._ahead is not None and self._ahead[0] < begins:
            self._take()
        while seal is not None:
            first, last, recorded_at, stored, formula = seal
            self.seals.looked_at += 1
            digest = Digest(hash, formula)
            while self._ahead is not None and self._ahead[0] <= last:
                cover(digest, self._take())
            self._judge(sealed, first, last, digest.hash() == stored)
            self._compare(recorded_at, f"The seal that ends at position {last}", last)
            sealed, hash, seal = last, stored, next(seals, None)
        while self._ahead is not None:
            self._take()

    def _judge(self, sealed: int, first: int, last: int, fits: bool) -> None:
        """What is to be said of a seal, where the one before it ends at `sealed`."""
        if first == sealed + 1:
            if not fits:
                self.seals.add(Finding(f"The seal over {numbers(first, last)} does not fit its events.", first, last))
        elif fits:
            sentence = f"The seal over {numbers(sealed + 1, last)} says that it begins at position {first}."
            self.seals.add(Finding(sentence, sealed + 1, last))
        elif first > sealed + 1:
            sentence = (
                f"No seal covers {numbers(sealed + 1, first - 1)}: it was removed, and the one after it, over"
                f" {numbers(first, last)}, cannot be held against it."
            )
            self.seals.add(Finding(sentence, sealed + 1, last))
        else:
            sentence = (
                f"The seal over {numbers(first, last)} covers again what the one before it covers up to {sealed}."
            )
            self.seals.add(Finding(sentence, first, last))

    def _take(self) -> Any:
        """The next event, once its position and its time were looked at, if they belong to this part."""
        event = self._ahead
        position: int = event[0]
        recorded = None if event[4] is None else _recorded_at(event[4])
        if position > self._after:
            self.positions.looked_at += 1
            if position == self._position:
                self.positions.add(Finding(f"The event at position {position} is here and in an archive.", position))
            elif position != self._position + 1:
                self._miss(position)
            self._compare(recorded, f"The event at position {position}", position)
        elif recorded is not None:
            self._recorded = recorded
        self._position = max(position, self._position)
        self._advance()
        return event

    def _advance(self) -> None:
        self._ahead = next(self._events, None)

    def _miss(self, position: int) -> None:
        if position < 1:
            self.positions.add(Finding(f"There is an event at position {position}, before the first.", position))
            return
        first, last = self._position + 1, position - 1
        verb = "is" if first == last else "are"
        sentence = f"No event is at {numbers(first, last)}: what was there {verb} gone."
        self.positions.add(Finding(sentence, first, last))

    def _compare(self, recorded: datetime | None, what: str, position: int) -> None:
        """Hold a time against the one before it; an event without one is for others to find."""
        self.times.looked_at += 1
        if recorded is None:
            return
        if self._recorded is not None and recorded < self._recorded:
            sentence = (
                f"{what} was recorded at {recorded.isoformat()}, before what it follows ({self._recorded.isoformat()})."
            )
            self.times.add(Finding(sentence, position, position))
        self._recorded = recorded


def cover(digest: Digest, event: tuple[Any, ...]) -> None:
    """Let a seal cover an event, or its leaf where only that is left."""
    _, id, version, topic, state, leaf = event
    if leaf is None:
        digest.cover(id, version, topic, state)
    else:
        digest.cover_leaf(leaf)


def _recorded_at(state: bytes) -> datetime | None:
    try:
        recorded = datetime.fromisoformat(from_json(state)["recorded_at"])
    except (ValueError, KeyError, TypeError):
        return None
    return recorded if recorded.tzinfo is not None else None
