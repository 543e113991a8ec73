"""How runs are spread over time and states, and how late they are.

What counters can answer costs as much as there are buckets, whatever the number of runs (see `counted`). All times are
the database's.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Unpack

from psycopg import AsyncConnection, sql

from domain.states import StateType
from projections.counted import Counted, counted, parts_of_pieces, parts_of_rows
from projections.documents import as_json
from projections.filters.condition import Condition
from projections.filters.related import Filters
from projections.queries import Kind
from projections.time_pieces import FIRST, LAST, MICROSECOND, Piece, even_pieces, microseconds, pieces

MOST_INTERVALS = 500
"""How many intervals a history has at most; those that would come later are left out. Source: server 3.9.1."""

SHORTEST_INTERVAL = timedelta(seconds=1)

_LATE = sql.SQL("greatest(sum(late) + sum(waiting) * extract(epoch FROM now()) - sum(waiting_since), 0)::float8")
_SPREAD = sql.SQL(
    "SELECT index, state_type, state_name, sum(runs)::bigint,"
    " greatest(sum(run_time) + CASE WHEN state_type = {running}"
    " THEN sum(runs) * extract(epoch FROM now()) - sum(running_since) ELSE 0 END, 0)::float8, {late}"
    " FROM ({parts}) AS part WHERE state_type IS NOT NULL GROUP BY index, state_type, state_name"
    " HAVING sum(runs) > 0 ORDER BY index, state_type, state_name"
)


class IntervalTooShort(Exception):
    """A history was asked for in intervals of less than a second."""

    def __init__(self) -> None:
        super().__init__("History interval must not be less than 1 second.")


async def read_history(
    connection: AsyncConnection,
    kind: Kind,
    *,
    start: datetime,
    end: datetime,
    interval: timedelta,
    now: datetime | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """How many runs were expected to start in each interval, by state, how long they ran and how late they were.

    A JSON array of intervals, each with `states`; sums are in seconds, as of now. Raises IntervalTooShort.
    """
    if interval < SHORTEST_INTERVAL:
        raise IntervalTooShort
    step, first = interval // MICROSECOND, microseconds(start)
    number = min(max(-((first - microseconds(end)) // step), 0), MOST_INTERVALS)
    ranges = [(first + place * step, first + (place + 1) * step) for place in range(number)]
    ranges = [(since, until) for since, until in ranges if until <= LAST]
    if not ranges:
        return b"[]"
    counters = counted(kind.source.table, filters)
    if counters is None:
        parts = _parts_of_rows(kind, kind.where(filters), ranges[0][0], ranges[-1][1], step)
    else:
        present = microseconds(now or _utc_now())
        if counters.start is None and counters.stop == LAST:
            cut = even_pieces(first, step, len(ranges), present)
        else:
            cut = pieces([_within(counters, since, until) for since, until in ranges], present)
        parts = parts_of_pieces(kind.source.table, counters, kind.where(filters), cut)
    running = sql.Literal(StateType.RUNNING.value)
    spread = Condition(_SPREAD.format(running=running, late=_LATE, parts=parts.text), parts.values)
    states: list[list[str]] = [[] for _ in ranges]
    named: dict[tuple[str, str], str] = {}
    for index, type, name, runs, run_time, lateness in await _rows(connection, spread, prepare=counters is not None):
        state = named.get((type, name))
        if state is None:
            state = named[type, name] = as_json({"state_type": type, "state_name": name})[:-1].decode()
        states[index].append(
            f'{state},"count_runs":{runs},"sum_estimated_run_time":{run_time},"sum_estimated_lateness":{lateness}}}'
        )
    begin = start.astimezone(UTC)
    edges = as_json([begin + place * interval for place in range(len(ranges) + 1)])[1:-1].decode().split(",")
    intervals = [
        f'{{"interval_start":{since},"interval_end":{until},"states":[{",".join(of_interval)}]}}'
        for since, until, of_interval in zip(edges, edges[1:], states, strict=False)
    ]
    return f"[{','.join(intervals)}]".encode()


async def average_lateness(
    connection: AsyncConnection, kind: Kind, *, now: datetime | None = None, **filters: Unpack[Filters]
) -> float | None:
    """How late runs that fit started on average, or are by now, in seconds; None where no run fits."""
    where = kind.where(filters)
    counters = counted(kind.source.table, filters)
    if counters is None:
        parts = parts_of_rows(kind.source.table, where, Condition(sql.SQL("0")))
    else:
        start = FIRST if counters.start is None else counters.start
        cut = pieces([(start, counters.stop)], microseconds(now or _utc_now()))
        if counters.start is None:
            cut.append(Piece(0, 86_400, None, FIRST, due=True))
        parts = parts_of_pieces(kind.source.table, counters, where, cut)
    average = sql.SQL("SELECT {} / nullif(sum(runs), 0)::float8 FROM ({}) AS part").format(_LATE, parts.text)
    rows = await _rows(connection, Condition(average, parts.values), prepare=counters is not None)
    value: float | None = rows[0][0]
    return value


def _within(counters: Counted, since: int, until: int) -> tuple[int, int]:
    """The part of an interval that the filter lets through."""
    start = since if counters.start is None else max(since, counters.start)
    return start, max(start, min(until, counters.stop))


def _parts_of_rows(kind: Kind, where: Condition, start: int, stop: int, step: int) -> Condition:
    time = sql.SQL("'1970-01-01Z'::timestamptz + %s * interval '1 microsecond'")
    between = sql.SQL("({where}) AND expected_start_time >= {time} AND expected_start_time < {time}").format(
        where=where.text, time=time
    )
    index = sql.SQL("floor(extract(epoch FROM expected_start_time - ({})) * 1000000 / %s)::int").format(time)
    return parts_of_rows(
        kind.source.table, Condition(between, (*where.values, start, stop)), Condition(index, (start, step))
    )


async def _rows(connection: AsyncConnection, asked: Condition, *, prepare: bool) -> list[tuple[Any, ...]]:
    # With counters one plan is right whatever the values, and planning takes a third of the time.
    statement = sql.SQL("{}").format(asked.text)
    return await (await connection.execute(statement, asked.values, prepare=prepare, binary=True)).fetchall()


def _utc_now() -> datetime:
    return datetime.now(UTC)
