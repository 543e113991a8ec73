"""One thing as the API would have shown it at some time: what the events up to then add up to.

Names and figures that are not of its own stream are those of today: a flow run's queue and pool, a deployment's limit
and queue, and when that was last polled.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection, sql
from psycopg.types.json import Json

from domain.aggregate import Aggregate
from domain.deployment import Deployment
from domain.events import EventMapper
from domain.flow_run import FlowRun
from domain.ledger import replay
from domain.run import Run
from projections.documents import as_json, with_estimates, with_queue
from projections.limit_documents import DEPLOYMENT_DOCUMENT
from projections.projectors import document_of, row_of
from projections.tables import DEPLOYMENTS
from projections.work_documents import QUEUE_NAMES, QUEUES_IN_POOLS

STREAMS_AS_OF = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = ANY(%(ids)s)
    AND (%(version)s::integer IS NULL OR originator_version <= %(version)s)
    AND (%(time)s::timestamptz IS NULL OR (state::json ->> 'recorded_at')::timestamptz <= %(time)s)
ORDER BY originator_id, originator_version
"""

QUEUES_BY_ID = (
    sql.SQL("SELECT queue.id, {} FROM {} WHERE queue.id = ANY(%s)").format(QUEUE_NAMES, QUEUES_IN_POOLS).as_string(None)
)

JOINED_DEPLOYMENT = (
    sql.SQL("SELECT {} FROM json_to_recordset(%s) AS deployments({})")
    .format(
        DEPLOYMENT_DOCUMENT,
        sql.SQL(", ").join(sql.Identifier(name) + sql.SQL(" ") + sql.SQL(type) for name, type in DEPLOYMENTS.columns),
    )
    .as_string(None)
)
"""The document of a deployment from a row that stands in no table."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the life of things: after the event of a version, or a time, which takes in all recorded by then."""

    version: int | None = None
    time: datetime | None = None


async def read_as_of(
    connection: AsyncConnection, kind: type[Aggregate], id: UUID, moment: Moment, mapper: EventMapper | None = None
) -> bytes | None:
    """The document of one thing as of a moment; None where there was none of that kind and id by then."""
    found = await aggregates_as_of(connection, [id], moment, mapper)
    aggregate = found.get(id)
    if not isinstance(aggregate, kind) or aggregate.deleted:
        return None
    return (await documents_as_of(connection, [aggregate], moment))[0]


async def aggregates_as_of(
    connection: AsyncConnection, ids: Sequence[UUID], moment: Moment, mapper: EventMapper | None = None
) -> dict[UUID, Aggregate]:
    """The aggregates of these ids that had come to be by a moment, as they were then."""
    asked = {"ids": list(ids), "version": moment.version, "time": moment.time}
    rows = await (await connection.execute(STREAMS_AS_OF, asked)).fetchall()
    # Many events take their time; others want to be answered meanwhile.
    return await asyncio.to_thread(_folded, rows, mapper or EventMapper())


async def documents_as_of(connection: AsyncConnection, aggregates: Sequence[Aggregate], moment: Moment) -> list[bytes]:
    """The documents of aggregates that stand as they did at a moment, in the same order."""
    queues = {run.work_queue_id for run in aggregates if isinstance(run, FlowRun) and run.work_queue_id is not None}
    names: dict[UUID, str] = {}
    if queues:
        names = dict(await (await connection.execute(QUEUES_BY_ID, [list(queues)])).fetchall())
    documents = []
    for aggregate in aggregates:
        if isinstance(aggregate, Deployment):
            document = await _deployment_document(connection, aggregate)
        else:
            document = document_of(aggregate)
        if isinstance(aggregate, FlowRun):
            name = None if aggregate.work_queue_id is None else names.get(aggregate.work_queue_id)
            document = with_queue(document, aggregate, None if name is None else name.encode())
        if isinstance(aggregate, Run):
            document = with_estimates(document, aggregate, moment.time or aggregate.updated)
        documents.append(document)
    return documents


async def _deployment_document(connection: AsyncConnection, deployment: Deployment) -> bytes:
    row = Json([row_of(deployment)], dumps=as_json)
    found = await (await connection.execute(JOINED_DEPLOYMENT, [row])).fetchone()
    return found[0].encode() if found else b""


def _folded(rows: Sequence[tuple[UUID, int, str, str]], mapper: EventMapper) -> dict[UUID, Aggregate]:
    stored = (StoredEvent(id, version, topic, state.encode()) for id, version, topic, state in rows)
    return {
        UUID(str(id)): replay(mapper, UUID(str(id)), list(stream))
        for id, stream in groupby(stored, key=lambda event: event.originator_id)
    }
