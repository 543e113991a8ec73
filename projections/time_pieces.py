"""Ranges of time cut into the buckets that counters are kept in, and what is left over at the edges.

Times are whole microseconds since 1970 (UTC), so that cutting is exact; ranges include their beginning, not their end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from projections.run_counts import WIDTHS

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND + 1

EXACT = 0
"""The width of a piece that is not made of buckets: its runs are looked at one by one."""

SKEW = 60 * SECOND
"""How far the clocks of this process and of the database may be apart."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of interval number `index`: buckets of `width` seconds, or EXACT. `due` says that it lies in the past.

    Without a `start` it holds the runs that have no time. With a `step` it holds all of several intervals of that
    length, of which number `index` is the first.
    """

    index: int
    width: int
    start: int | None
    stop: int
    due: bool
    step: int = 0


def microseconds(time: datetime) -> int:
    """A time as whole microseconds since 1970."""
    return (time - EPOCH) // MICROSECOND


def pieces(ranges: Sequence[tuple[int, int]], now: int | None = None) -> list[Piece]:
    """The pieces of ranges, which count as intervals 0, 1, ….

    Where `now` is given, the time around it is cut out as EXACT, so that every other piece lies either in the past or
    in the future.
    """
    found: list[Piece] = []
    if now is None:
        for index, (start, stop) in enumerate(ranges):
            _cut(found, index, start, stop, due=True)
        return found
    present, future = _floor(now - SKEW, 60), _ceiling(now + SKEW, 60)
    for index, (start, stop) in enumerate(ranges):
        if stop <= present or start >= future:
            _cut(found, index, start, stop, due=stop <= present)
            continue
        before, after = min(max(present, start), stop), min(max(future, start), stop)
        _cut(found, index, start, before, due=True)
        if before < after:
            found.append(Piece(index, EXACT, before, after, due=True))
        _cut(found, index, after, stop, due=False)
    return found


def even_pieces(start: int, step: int, number: int, now: int) -> list[Piece]:
    """The pieces of so many intervals of one length, one after the other; where buckets fit, one of all in the past."""
    width = next((width for width in reversed(WIDTHS) if start % (width * SECOND) == step % (width * SECOND) == 0), 0)
    past = min(max((_floor(now - SKEW, 60) - start) // step, 0), number) if width else 0
    later = pieces([(start + place * step, start + (place + 1) * step) for place in range(past, number)], now)
    found = [replace(piece, index=past + piece.index) for piece in later]
    return [Piece(0, width, start, start + past * step, True, step), *found] if past else found


def _cut(found: list[Piece], index: int, start: int, stop: int, *, due: bool, level: int = len(WIDTHS)) -> None:
    """Add the pieces of one range, of the widest buckets that fit among the narrowest `level` widths first."""
    if start >= stop:
        return
    for narrower in range(level - 1, -1, -1):
        width = WIDTHS[narrower]
        first, last = _ceiling(start, width), _floor(stop, width)
        if first == start and last == stop:
            found.append(Piece(index, width, start, stop, due))
            return
        if first < last:
            _cut(found, index, start, first, due=due, level=narrower)
            found.append(Piece(index, width, first, last, due))
            _cut(found, index, last, stop, due=due, level=narrower)
            return
    found.append(Piece(index, EXACT, start, stop, due))


def _floor(time: int, width: int) -> int:
    return time // (width * SECOND) * (width * SECOND)


def _ceiling(time: int, width: int) -> int:
    return -_floor(-time, width)
