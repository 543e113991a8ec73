"""What is the matter with a seal that does not fit: all that can be told of it, put into one sentence.

A seal says only that something it covers is not as it was. The seal after it, and what other checks found, say more.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg

from projections.seals import GENESIS, Digest
from projections.verify.findings import Finding, numbers
from projections.verify.log import EVENTS_AND_LEAVES, cover
from projections.verify.scene import rows

_SEALS_FROM = """
(SELECT last_position, hash, formula FROM ledger.seals WHERE last_position < %s ORDER BY last_position DESC LIMIT 1)
UNION ALL
(SELECT last_position, hash, formula FROM ledger.seals WHERE last_position >= %s ORDER BY last_position LIMIT 2)
ORDER BY last_position
"""

_OF_STREAMS = """
SELECT position FROM (
    SELECT position, originator_id FROM ledger.events UNION ALL SELECT position, originator_id FROM ledger.archived
) AS place
WHERE position >= %s AND position <= %s AND originator_id = ANY(%s) ORDER BY position LIMIT %s
"""

MOST_NAMED = 10
"""How many positions one sentence names."""


def explained(
    connection: psycopg.Connection, broken: Iterable[Finding], others: Iterable[Finding]
) -> Iterator[Finding]:
    """The findings on seals, in the order of their positions, each with all that is known of it.

    One that only follows from another, that the hash of the seal before it was changed, is left out. `others` are what
    other checks found.
    """
    known = list(others)
    named = {(f.first, f.last if f.last is not None else f.first) for f in known if f.first is not None}
    streams = list({f.stream for f in known if f.first is None and f.stream is not None})
    excused: int | None = None
    for finding in sorted(broken, key=lambda finding: finding.first or 0):
        first, last = finding.first, finding.last
        if first is None or last is None or not finding.sentence.endswith("does not fit its events."):
            yield finding
            continue
        if first == excused:
            continue
        seal = _Broken(connection, first, last)
        if seal.only_hash_changed:
            excused = last + 1
        found = connection.execute(_OF_STREAMS, [first, last, streams, MOST_NAMED])
        inside = {*named, *((position, position) for (position,) in found)}
        suspects = sorted((max(a, first), min(b, last)) for a, b in inside if a <= last and b >= first)
        yield Finding(seal.sentence(suspects), first, last)


@dataclass(slots=True)
class _Seal:
    last: int
    hash: bytes
    formula: int


class _Broken:
    """A seal that does not fit, held against the one after it."""

    def __init__(self, connection: psycopg.Connection, first: int, last: int) -> None:
        self._first, self._last = first, last
        near = [_Seal(*row) for row in connection.execute(_SEALS_FROM, [first, last])]
        before = near[0].hash if near[0].last < first else GENESIS
        after = near[-1] if near[-1].last > last else None
        self._found: list[tuple[int, str]] = []
        self._missing: list[int] = []
        expected = first
        broken = next(seal for seal in near if seal.last == last)
        digest = Digest(before, broken.formula)
        between = {"first": first, "last": last}
        for found in rows(connection, "broken", EVENTS_AND_LEAVES, between):
            position, id, version, topic, _, leaf = found
            cover(digest, found)
            self._missing.extend(range(expected, min(position, expected + MOST_NAMED)))
            expected = position + 1
            if len(self._found) < MOST_NAMED:
                what = "in an archive" if leaf is not None else topic.decode(errors="replace")
                self._found.append((position, f"{what}, version {version} of {id.decode()}"))
        self._missing.extend(range(expected, min(last + 1, expected + MOST_NAMED)))
        self.only_hash_changed = self._events_changed = False
        if after is not None:
            fits = [Digest(digest.hash(), after.formula), Digest(broken.hash, after.formula)]
            for found in rows(connection, "after", EVENTS_AND_LEAVES, {"first": last + 1, "last": after.last}):
                for each in fits:
                    cover(each, found)
            self.only_hash_changed, self._events_changed = (each.hash() == after.hash for each in fits)

    def sentence(self, named: list[tuple[int, int]]) -> str:
        """What is known of it; `named` are those places within it that other checks found something of."""
        first, last = self._first, self._last
        where = numbers(first, last)
        if self.only_hash_changed:
            return f"The hash of the seal over {where} was changed; the events are as they were sealed."
        if not self._found:
            return f"The seal over {where} has no events any more."
        maybe = "" if self._events_changed else " (or the hash of the seal was)"
        if first == last:
            return f"The event at position {first} ({self._found[0][1]}) was changed{maybe}."
        if self._missing:
            gone = ", ".join(map(str, self._missing[:MOST_NAMED]))
            return f"Of the events at {where}, which were sealed together, some are missing: {gone}."
        said = f"Of the events at {where}, which were sealed together, one or more was changed, added or removed{maybe}"
        places = ", ".join(numbers(*place) for place in named[:MOST_NAMED])
        return f"{said}; other checks speak of {places}." if places else f"{said}."
