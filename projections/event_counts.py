"""How many events there are of each name, of each resource, or in each stretch of time."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection, sql

from projections.feed_sources import SOURCES
from projections.filters.events import EventFilter, event_conditions

PIVOT = datetime(2024, 4, 1, tzinfo=UTC)
"""The Monday from which on time is cut into stretches. Source: server 3.9.1."""

MOST_STRETCHES = 1000

COUNT_NAMED = sql.SQL(
    "SELECT value, (array_agg(label ORDER BY latest DESC))[1] AS label, sum(events)::bigint, min(oldest), max(latest)"
    " FROM (SELECT value, label, count(*) AS events, min(occurred) AS oldest, max(occurred) AS latest"
    " FROM ({}) AS told GROUP BY value, label) AS counted GROUP BY value ORDER BY 3 DESC, 2"
)
COUNT_STRETCHES = sql.SQL(
    "SELECT floor(extract(epoch FROM occurred - %s) / %s)::bigint, count(*) FROM ({}) AS told GROUP BY 1"
)


class Countable(StrEnum):
    """By what events are counted."""

    DAY = "day"
    TIME = "time"
    EVENT = "event"
    RESOURCE = "resource"


class TimeUnit(StrEnum):
    WEEK = "week"
    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"
    SECOND = "second"

    def times(self, interval: float) -> timedelta:
        return timedelta(**{f"{self.value}s": interval})


class TooManyStretches(Exception):
    """A range of time would be cut into more stretches than anybody can look at."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"The given interval would create {number} buckets, which is too many. Please increase the interval or"
            f" reduce the time range to produce {MOST_STRETCHES} buckets or fewer."
        )
        self.number = number


async def count_events_by(
    connection: AsyncConnection,
    filter: EventFilter,
    countable: Countable,
    unit: TimeUnit,
    interval: float,
    now: datetime,
) -> list[dict[str, Any]]:
    """The counts, most first, or for stretches of time in their order, with zeros where nothing happened.

    Stretches go on to the end of the unit of time that `now` lies in, where more is asked for. A count by `day` is one
    of time. Raises TooManyStretches.
    """
    stretch = unit.times(interval)
    number = math.ceil((filter.occurred.until - filter.occurred.since) / stretch)
    if number > MOST_STRETCHES:
        raise TooManyStretches(number)
    if countable in (Countable.DAY, Countable.TIME):
        return await _count_stretches(connection, filter, stretch, _end(filter, unit, now))
    parts: list[sql.Composed] = []
    values: list[Any] = []
    for source in SOURCES:
        where = event_conditions(filter, source)
        value, label = (
            (source.event, source.event) if countable is Countable.EVENT else (source.resource_id, source.label)
        )
        text = "SELECT {} AS value, {} AS label, {} AS occurred FROM {} WHERE {}"
        parts.append(sql.SQL(text).format(value, label, source.occurred, source.rows, where.text))
        values.extend(where.values)
    statement = COUNT_NAMED.format(sql.SQL(" UNION ALL ").join(parts))
    rows = await (await connection.execute(statement, values, prepare=False)).fetchall()
    names = ("value", "label", "count", "start_time", "end_time")
    return [dict(zip(names, row, strict=True)) for row in rows]


async def _count_stretches(
    connection: AsyncConnection, filter: EventFilter, stretch: timedelta, end: datetime
) -> list[dict[str, Any]]:
    parts: list[sql.Composed] = []
    values: list[Any] = [PIVOT, stretch.total_seconds()]
    for source in SOURCES:
        where = event_conditions(filter, source)
        parts.append(sql.SQL("SELECT {} AS occurred FROM {} WHERE {}").format(source.occurred, source.rows, where.text))
        values.extend(where.values)
    statement = COUNT_STRETCHES.format(sql.SQL(" UNION ALL ").join(parts))
    rows = await (await connection.execute(statement, values, prepare=False)).fetchall()
    counts: dict[int, int] = dict(rows)
    return [
        {
            "value": str(place),
            "label": start.isoformat(),
            "count": counts.get(index, 0),
            "start_time": start,
            "end_time": start + stretch - timedelta(microseconds=1),
        }
        for place, (index, start) in enumerate(_stretches(filter.occurred.since, end, stretch))
    ]


def _stretches(since: datetime, end: datetime, stretch: timedelta) -> Iterator[tuple[int, datetime]]:
    index = math.floor((since - PIVOT) / stretch)
    while (start := PIVOT + stretch * index) < end:
        yield index, start
        index += 1


def _end(filter: EventFilter, unit: TimeUnit, now: datetime) -> datetime:
    """Where the stretches end: what lies in the future has no events yet."""
    if filter.occurred.until <= now:
        return filter.occurred.until
    index = math.floor((now - PIVOT) / unit.times(1))
    return PIVOT + unit.times(1) * (index + 1)
