"""Which flow runs were in which state at some time: lists and counts as of then, runs that were deleted since included.

A time takes in all that was recorded by then. Answered from the stretches of time in which what can be asked stayed the
same, never from the rows of today; the documents are what the events up to that time add up to. Flows and deployments
are meant by their ids; names of flows are those of today.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from psycopg import AsyncConnection, sql

from domain.events import EventMapper
from projections.as_of import Moment, aggregates_as_of, documents_as_of
from projections.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from projections.filters.condition import Condition, Operator, compare, exists, joined
from projections.filters.criteria import Criteria, Entity
from projections.filters.related import Filters
from projections.lists import LAST_ROW

TABLE = "flow_run_intervals"

COLUMNS_OF_RUN = {"id": "flow_run_id", "tags": "tag_keys", "deployment_id": "deployment_id", "state": "state"}
"""What can be asked of a flow run, and the column that has it."""

GOING_ON = (
    "NOT terminal AND ended IS NOT NULL AND tstzrange(began, ended) @> %s",
    "NOT terminal AND ended IS NULL AND began <= %s",
    "terminal AND began <= %s AND (ended IS NULL OR ended > %s)",
)
"""The stretches that were going on at a time, in parts that are each found by an index of their own."""


class NotKnownOfThePast(Exception):
    """A filter asks what is only known of the present; the message is a sentence that names it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"With as_of, {what} cannot be asked for.")
        self.what = what


async def count_past_flow_runs(connection: AsyncConnection, time: datetime, **filters: Unpack[Filters]) -> int:
    """How many flow runs fitted at a time. Raises NotKnownOfThePast."""
    going_on = _going_on(time, filters)
    statement = sql.SQL("SELECT count(*) FROM ({}) AS interval").format(going_on.text)
    row = await (await connection.execute(statement, going_on.values, prepare=False)).fetchone()
    return int(row[0]) if row else 0


async def read_past_flow_runs(
    connection: AsyncConnection,
    time: datetime,
    *,
    limit: int,
    offset: int = 0,
    mapper: EventMapper | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the flow runs that fitted at a time, as they were, newest first. Raises NotKnownOfThePast."""
    going_on = _going_on(time, filters)
    statement = sql.SQL("SELECT flow_run_id FROM ({}) AS interval ORDER BY flow_run_id DESC LIMIT %s OFFSET %s").format(
        going_on.text
    )
    values = [*going_on.values, limit, min(offset, LAST_ROW)]
    rows = await (await connection.execute(statement, values, prepare=False)).fetchall()
    ids: list[UUID] = [row[0] for row in rows]
    moment = Moment(time=time)
    found = await aggregates_as_of(connection, ids, moment, mapper)
    # Whoever empties the ledger meanwhile takes runs away.
    there = [found[id] for id in ids if id in found]
    return b"[%s]" % b",".join(await documents_as_of(connection, there, moment))


def _going_on(time: datetime, filters: Filters) -> Condition:
    """The statement that selects the stretches that fit and were going on at a time, one for each run."""
    fits = _fitting(filters)
    parts = [
        Condition(
            sql.SQL("SELECT flow_run_id FROM read.flow_run_intervals WHERE {} AND {}").format(
                sql.SQL(going_on), fits.text
            ),
            ((time,) * going_on.count("%s")) + fits.values,
        )
        for going_on in GOING_ON
    ]
    return Condition(
        sql.SQL(" UNION ALL ").join(part.text for part in parts),
        tuple(value for part in parts for value in part.values),
    )


def _fitting(filters: Filters) -> Condition:
    parts: list[Condition] = []
    for name, filter in filters.items():
        match filter:
            case None:
                continue
            case FlowRunFilter():
                parts.append(_asked(name, filter, COLUMNS_OF_RUN))
            case FlowFilter():
                parts.append(_asked(name, filter, {"id": "flow_id", "name": "flow_id"}))
            case DeploymentFilter():
                parts.append(compare("{} IS NOT NULL", sql.Identifier(TABLE, "deployment_id")))
                parts.append(_asked(name, filter, {"id": "deployment_id"}))
            case _:
                raise NotKnownOfThePast(name)
    return joined(Operator.AND, parts)


def _asked(name: str, filter: Entity, columns: Mapping[str, str]) -> Condition:
    """What a filter asks of a stretch, by the columns that tell what it may ask."""
    parts: list[Condition] = []
    operator: Any = filter.operator
    for field, criteria in filter:
        if not isinstance(criteria, Criteria):
            continue
        if field not in columns:
            raise NotKnownOfThePast(f"{name}.{field}")
        if isinstance(filter, FlowFilter) and field == "name":
            of_that_name = criteria.condition("flows", "name")
            parts.append(exists("FROM read.flows WHERE flows.id = flow_run_intervals.flow_id", of_that_name))
        else:
            parts.append(criteria.condition(TABLE, columns[field]))
    return joined(operator, parts)
