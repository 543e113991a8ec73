"""Which filters the counters can answer, and the parts of sums that they and single rows contribute.

Counters are kept by state and by the time runs were expected to start, of all runs and of those of one flow, of one
deployment or with one tag. Filters that ask for more are answered from the rows of runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from domain.states import StateType
from projections.estimates import ESTIMATED_RUN_TIME, ESTIMATED_START_TIME_DELTA
from projections.filters import DeploymentFilter, FlowFilter, FlowRunFilter, TaskRunFilter
from projections.filters.condition import EVERY_ROW, Condition, Operator, compare, joined
from projections.filters.criteria import AnyOrAllTagsOfRun, AnyOrNoId, Criteria, StateCriteria, TimeRange
from projections.filters.related import Filters
from projections.query import Query
from projections.run_counts import ANY_RUN, CHANGES, COUNTED, WIDTHS, kind_of
from projections.tag_keys import key_of_tag
from projections.time_pieces import EXACT, FIRST, LAST, Piece, microseconds, pieces

_KEY = sql.Identifier("counts", "key")
_SUMS = sql.SQL("runs, run_time, running_since, late, waiting, waiting_since")
_OF_GROUP = sql.SQL(
    "state_type, state_name, count(*) AS runs, sum(run_time)::numeric AS run_time,"
    " CASE WHEN state_type = {running} THEN count(*) * extract(epoch FROM now()) ELSE 0 END AS running_since,"
    " sum(late)::numeric AS late, 0 AS waiting, 0 AS waiting_since"
).format(running=sql.Literal(StateType.RUNNING.value))
"""The sums of single rows in the terms of counters; what runs and waits is in the times up to now already."""

_IN_PIECE = sql.SQL("expected_start_time >= piece.start AND expected_start_time < piece.stop")


@dataclass(frozen=True)
class Counted:
    """The counters that answer a filter: which of them, in which states, and between which times (microseconds).

    `start` None: also runs that have no time.
    """

    dimension: str
    rows: Condition
    start: int | None = None
    stop: int = LAST


def counted(table: str, filters: Filters) -> Counted | None:
    """The counters that answer filters of the runs of a read table, or None."""
    asked = {name: filter for name, filter in filters.items() if filter is not None}
    own = asked.pop(table, None)
    dimensions: list[tuple[str, Condition]] = []
    for name, dimension in (("flows", "flow"), ("deployments", "deployment")):
        filter = asked.get(name)
        if table == "flow_runs" and isinstance(filter, FlowFilter | DeploymentFilter):
            del asked[name]
            chosen = filter.condition()
            ids = sql.SQL("{} IN (SELECT id FROM read.{} WHERE {})").format(_KEY, sql.Identifier(name), chosen.text)
            dimensions.append((dimension, Condition(ids, chosen.values)))
    if asked:
        return None
    states, between = EVERY_ROW, TimeRange()
    if isinstance(own, FlowRunFilter | TaskRunFilter):
        questions = {name: criteria for name, criteria in own if isinstance(criteria, Criteria)}
        if own.operator is Operator.OR and len(questions) > 1:
            return None
        for name, criteria in questions.items():
            if isinstance(criteria, StateCriteria):
                states = criteria.condition("counts", "state")
            elif name == "expected_start_time" and isinstance(criteria, TimeRange):
                between = criteria
            elif table == "flow_runs" and (found := _dimension(name, criteria)) is not None:
                dimensions.append(found)
            else:
                return None
    if len(dimensions) > 1:
        return None
    dimensions.append(("all", compare("{} = %s::uuid", _KEY, ANY_RUN)))
    chosen_dimension, key = dimensions[0]
    if between.before_ is None and between.after_ is None:
        return Counted(chosen_dimension, joined(Operator.AND, [key, states]))
    start = FIRST if between.after_ is None else microseconds(between.after_)
    stop = LAST if between.before_ is None else microseconds(between.before_) + 1
    return Counted(chosen_dimension, joined(Operator.AND, [key, states]), start, stop)


def _dimension(name: str, criteria: Criteria) -> tuple[str, Condition] | None:
    if name == "deployment_id" and isinstance(criteria, AnyOrNoId):
        if criteria.any_ is not None and criteria.is_null_ is None:
            return "deployment", compare("{} = ANY(%s)", _KEY, criteria.any_)
    elif isinstance(criteria, AnyOrAllTagsOfRun) and criteria.is_null_ is None:
        tags = [*(criteria.all_ or ()), *(criteria.any_ or ())]
        if len(tags) == 1 and None in (criteria.all_, criteria.any_):
            return "tag", compare("{} = %s", _KEY, key_of_tag(tags[0]))
    return None


def count_by(table: str, where: Condition, filters: Filters) -> Query:
    """The query for how many rows of a read table fit filters, which stand for that condition on them."""
    counters = counted(table, filters) if table in COUNTED else None
    if counters is None:
        text = sql.SQL("SELECT count(*) FROM read.{} WHERE {}").format(sql.Identifier(table), where.text)
        return Query(Condition(text, where.values))
    parts = _sums(table, counters, where)
    text = sql.SQL("SELECT coalesce(sum(runs), 0)::bigint FROM ({}) AS part").format(parts.text)
    return Query(Condition(text, parts.values), one_plan=counters.start is None)


def states_by_count(table: str, where: Condition, filters: Filters) -> Condition:
    """The statement that selects the type of each state that rows of runs that fit are in, and how many are."""
    counters = counted(table, filters)
    if counters is None:
        text = sql.SQL(
            "SELECT state_type, count(*) FROM read.{} WHERE state_type IS NOT NULL AND {} GROUP BY state_type"
        ).format(sql.Identifier(table), where.text)
        return Condition(text, where.values)
    parts = _sums(table, counters, where)
    text = sql.SQL(
        "SELECT state_type, sum(runs)::bigint FROM ({}) AS part WHERE state_type IS NOT NULL GROUP BY state_type"
    ).format(parts.text)
    return Condition(text, parts.values)


def _sums(table: str, counters: Counted, where: Condition) -> Condition:
    """Rows whose `runs` add up to how many fit, by `state_type`."""
    if counters.start is not None:
        return parts_of_pieces(table, counters, where, pieces([(counters.start, counters.stop)]))
    text = sql.SQL(
        "SELECT state_type, runs FROM read.run_counts AS counts"
        " WHERE kind = {kind} AND dimension = {dimension} AND width IN ({changes}, {widest}) AND {rows}"
    ).format(
        kind=sql.Literal(kind_of(table)),
        dimension=sql.Literal(counters.dimension),
        changes=sql.Literal(CHANGES),
        widest=sql.Literal(WIDTHS[-1]),
        rows=counters.rows.text,
    )
    return Condition(text, counters.rows.values)


def parts_of_pieces(table: str, counters: Counted, where: Condition, made_of: Iterable[Piece]) -> Condition:
    """A statement whose rows are what counters and single rows of a table contribute to each interval and state."""
    # OFFSET 0 keeps PostgreSQL from joining all counters with all pieces instead of looking for those of each piece.
    cut = list(made_of)
    text = sql.SQL(
        "WITH piece AS MATERIALIZED (SELECT index, width, due, start AS first, step,"
        " coalesce('1970-01-01Z'::timestamptz + start * interval '1 microsecond', '-infinity') AS start,"
        " '1970-01-01Z'::timestamptz + stop * interval '1 microsecond' AS stop"
        " FROM unnest(%s::int[], %s::int[], %s::int[]::bool[], %s::bigint[], %s::bigint[], %s::bigint[])"
        " AS cut(index, width, due, start, stop, step))"
        " SELECT index + CASE WHEN step > 0"
        " THEN ((extract(epoch FROM bucket)::bigint * 1000000 - first) / step)::int ELSE 0 END AS index,"
        " state_type, state_name, runs, run_time, running_since, late,"
        " CASE WHEN due THEN waiting ELSE 0 END AS waiting,"
        " CASE WHEN due THEN waiting_since ELSE 0 END AS waiting_since"
        " FROM piece CROSS JOIN LATERAL (SELECT bucket, state_type, state_name, {sums} FROM read.run_counts AS counts"
        " WHERE kind = {kind} AND dimension = {dimension} AND counts.width = ANY (ARRAY[{changes}, piece.width])"
        " AND bucket >= piece.start AND bucket < piece.stop AND {rows} OFFSET 0) AS summed WHERE width > 0"
        " UNION ALL SELECT index, state_type, state_name, {sums}"
        " FROM piece CROSS JOIN LATERAL ({grouped}) AS grouped WHERE width = {exact}"
    ).format(
        sums=_SUMS,
        kind=sql.Literal(kind_of(table)),
        dimension=sql.Literal(counters.dimension),
        changes=sql.Literal(CHANGES),
        rows=counters.rows.text,
        grouped=sql.SQL("SELECT {} FROM ({}) AS single GROUP BY state_type, state_name").format(
            _OF_GROUP, _single(table, where, _IN_PIECE)
        ),
        exact=sql.Literal(EXACT),
    )
    columns: tuple[list[int | None], ...] = (
        [piece.index for piece in cut],
        [piece.width for piece in cut],
        [piece.due for piece in cut],
        [piece.start for piece in cut],
        [piece.stop for piece in cut],
        [piece.step for piece in cut],
    )
    return Condition(text, (*map(_array, columns), *counters.rows.values, *where.values))


def _array(values: Iterable[int | None]) -> str:
    """Numbers as the text of an array, which costs a fifth of having them adapted one by one."""
    return "{" + ",".join(["null" if value is None else str(int(value)) for value in values]) + "}"


def parts_of_rows(table: str, where: Condition, index: Condition) -> Condition:
    """The same from the rows of a table alone; `index` is the number of the interval that a row belongs to."""
    text = sql.SQL(
        "SELECT index, {sums} FROM (SELECT {index} AS index, single.* FROM ({single}) AS single) AS placed"
        " GROUP BY index, state_type, state_name"
    ).format(sums=_OF_GROUP, index=index.text, single=_single(table, where, sql.SQL("true")))
    return Condition(text, (*index.values, *where.values))


def _single(table: str, where: Condition, between: sql.Composable) -> sql.Composed:
    """What single rows contribute as of now; in floats, for there may be many and exact numbers are slow."""
    return sql.SQL(
        "SELECT state_type, state_name, expected_start_time, greatest({run_time}, 0) AS run_time, {late} AS late"
        " FROM read.{table} WHERE {between} AND {where}"
    ).format(
        table=sql.SQL(table),
        run_time=ESTIMATED_RUN_TIME,
        late=ESTIMATED_START_TIME_DELTA,
        between=between,
        where=where.text,
    )
