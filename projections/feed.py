"""The feed of events: what runs went through and what clients told, in the shape that clients know, filtered and paged.

Nothing is written for it: an event is the row of a state with the names of what belongs to it, joined when it is read,
or an event that a client sent. A run that was deleted leaves the feed as it leaves every list.

Lists are in order of the time events occurred. Readers of what is new go by the order in which it was written instead,
between two horizons: the ledger's position, and, for what is not in the ledger, the first transaction that may still
be under way. Nothing is written behind a horizon any more, so that a reader meets every event once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.feed_sources import CLIENT_SOURCE, RUN_SOURCES, SOURCES, Source
from projections.filters.condition import Condition, Operator, joined
from projections.filters.events import EventFilter, EventOrder, event_conditions

HORIZON = """
SELECT coalesce((SELECT max(position) FROM ledger.events), 0), oldest::text::bigint,
    EXISTS (SELECT 1 FROM telemetry.client_events WHERE written_by >= oldest)
    OR EXISTS (SELECT 1 FROM telemetry.logs WHERE written_by >= oldest)
FROM pg_snapshot_xmin(pg_current_snapshot()) AS running(oldest)
"""

FIRST_ID = UUID(int=0)
NOWHERE = sql.SQL("")


@dataclass(frozen=True)
class Horizon:
    """How far everything that was written can be seen: the last position, and the first transaction not yet ended.

    `behind` says that something that can be seen already lies behind it, so that looking again soon is worth while.
    """

    position: int
    transaction: int
    behind: bool = False


@dataclass(frozen=True)
class Cursor:
    """How far a reader has got: behind a position, and behind a row of a transaction."""

    position: int
    transaction: int
    id: UUID = FIRST_ID

    @classmethod
    def at(cls, horizon: Horizon) -> "Cursor":
        return cls(horizon.position, horizon.transaction)

    def reached(self, horizon: Horizon) -> bool:
        """Whether nothing is left to read before a horizon."""
        return self.position == horizon.position and self.transaction >= horizon.transaction


@dataclass(frozen=True)
class Listed:
    """An event of the feed: its document, and its place in the order of lists."""

    occurred: datetime
    id: UUID
    document: bytes


async def read_horizon(connection: AsyncConnection) -> Horizon:
    """How far everything can be seen now."""
    row = await (await connection.execute(HORIZON, prepare=True)).fetchone()
    if row is None:
        raise LookupError("A query of one row gave none")
    return Horizon(*row)


async def read_events(
    connection: AsyncConnection,
    filter: EventFilter,
    limit: int,
    *,
    after: tuple[datetime, UUID] | None = None,
    before: Horizon | None = None,
) -> list[Listed]:
    """At most `limit` events that fit, in the order that the filter asks for.

    `after` is the place of the last event that the caller has, `before` the horizon behind which none is meant.
    """
    order = sql.SQL("DESC" if filter.order is EventOrder.DESC else "ASC")
    end = sql.SQL(" ORDER BY occurred {order}, id {order} LIMIT {limit}").format(order=order, limit=limit)
    parts: list[sql.Composed] = []
    values: list[Any] = []
    for source in SOURCES:
        conditions = [event_conditions(filter, source)]
        if before is not None:
            conditions.append(_before(source, before))
        if after is not None and not filter.distinct:
            conditions.append(_behind(source.occurred, source.id, filter.order, after))
        where = joined(Operator.AND, conditions)
        part = sql.SQL(
            "(SELECT {} AS occurred, {} AS id, {} AS resource_id, {} AS document FROM {} WHERE {}{})"
        ).format(
            *(source.occurred, source.id, source.resource_id, source.document, source.rows, where.text),
            NOWHERE if filter.distinct else end,
        )
        parts.append(part)
        values.extend(where.values)
    found: sql.Composable = sql.SQL(" UNION ALL ").join(parts)
    if filter.distinct:
        found = sql.SQL(
            "SELECT DISTINCT ON (resource_id) * FROM ({found}) AS every"
            " ORDER BY resource_id, occurred {order}, id {order}"
        ).format(found=found, order=order)
        if after is not None:
            rest = _behind(sql.SQL("occurred"), sql.SQL("id"), filter.order, after)
            found = sql.SQL("SELECT * FROM ({}) AS first WHERE {}").format(found, rest.text)
            values.extend(rest.values)
    statement = sql.SQL("SELECT occurred, id, document FROM ({}) AS found{}").format(found, end)
    rows = await (await connection.execute(statement, values, prepare=False)).fetchall()
    return [Listed(occurred, id, document.encode()) for occurred, id, document in rows]


async def count_events(connection: AsyncConnection, filter: EventFilter) -> int:
    """How many events fit, or, where distinct resources are asked for, of how many resources they are."""
    parts: list[sql.Composed] = []
    values: list[Any] = []
    for source in SOURCES:
        where = event_conditions(filter, source)
        what = (
            sql.SQL("DISTINCT {} AS one").format(source.resource_id) if filter.distinct else sql.SQL("count(*) AS one")
        )
        parts.append(sql.SQL("SELECT {} FROM {} WHERE {}").format(what, source.rows, where.text))
        values.extend(where.values)
    total = sql.SQL("count(DISTINCT one)" if filter.distinct else "sum(one)::bigint")
    statement = sql.SQL("SELECT {} FROM ({}) AS counted").format(total, sql.SQL(" UNION ALL ").join(parts))
    row = await (await connection.execute(statement, values, prepare=False)).fetchone()
    return int(row[0]) if row else 0


async def read_new_events(
    connection: AsyncConnection, filter: EventFilter, after: Cursor, before: Horizon, limit: int
) -> tuple[list[bytes], Cursor]:
    """The documents of events that fit and were written since, in the order of writing, and how far that got.

    At most `limit` of the ledger and as many of those that clients sent of themselves.
    """
    if before.position < after.position:
        # The ledger was emptied: all that is in it is new.
        after = Cursor(0, after.transaction, after.id)
    documents: list[bytes] = []
    position = before.position
    if after.position < before.position:
        found = await _new_of_runs(connection, filter, after.position, before.position, limit)
        documents += [document.encode() for _, document in found]
        if len(found) == limit:
            position = found[-1][0]
    transaction, id = before.transaction, FIRST_ID
    if after.transaction < before.transaction:
        sent = await _new_of_clients(connection, filter, after, before.transaction, limit)
        documents += [document.encode() for _, _, document in sent]
        if len(sent) == limit:
            transaction, id = sent[-1][:2]
    return documents, Cursor(position, transaction, id)


async def _new_of_runs(
    connection: AsyncConnection, filter: EventFilter, after: int, before: int, limit: int
) -> Sequence[Any]:
    parts: list[sql.Composed] = []
    values: list[Any] = []
    for source in RUN_SOURCES:
        window = Condition(sql.SQL("entry.position > %s AND entry.position <= %s"), (after, before))
        where = joined(Operator.AND, [window, event_conditions(filter, source)])
        parts.append(
            sql.SQL(
                "(SELECT entry.position AS position, {} AS document FROM {} WHERE {} ORDER BY entry.position LIMIT {})"
            ).format(source.document, source.rows, where.text, limit)
        )
        values.extend(where.values)
    statement = sql.SQL("SELECT position, document FROM ({}) AS found ORDER BY position LIMIT {}").format(
        sql.SQL(" UNION ALL ").join(parts), limit
    )
    return await (await connection.execute(statement, values, prepare=False)).fetchall()


async def _new_of_clients(
    connection: AsyncConnection, filter: EventFilter, after: Cursor, before: int, limit: int
) -> Sequence[Any]:
    source = CLIENT_SOURCE
    window = Condition(
        sql.SQL("(written_by, id) > (%s::text::xid8, %s) AND written_by < %s::text::xid8"),
        (after.transaction, after.id, before),
    )
    where = joined(Operator.AND, [window, event_conditions(filter, source)])
    statement = sql.SQL(
        "SELECT written_by::text::bigint, id, {} FROM {} WHERE {} ORDER BY written_by, id LIMIT {}"
    ).format(source.document, source.rows, where.text, limit)
    return await (await connection.execute(statement, where.values, prepare=False)).fetchall()


def _before(source: Source, horizon: Horizon) -> Condition:
    if source is CLIENT_SOURCE:
        return Condition(sql.SQL("sent.written_by < %s::text::xid8"), (horizon.transaction,))
    return Condition(sql.SQL("entry.position <= %s"), (horizon.position,))


def _behind(occurred: sql.Composable, id: sql.Composable, order: EventOrder, place: tuple[datetime, UUID]) -> Condition:
    operator = sql.SQL("<" if order is EventOrder.DESC else ">")
    return Condition(sql.SQL("({}, {}) {} (%s, %s)").format(occurred, id, operator), place)
