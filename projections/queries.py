"""What can be read of flows, deployments and runs: one, a list, how many, and the states a run went through.

Documents are JSON text as the projectors wrote it, joined by PostgreSQL and handed on as bytes; nothing is parsed here.
Lists and counts take filters of all kinds; see `filters.related` for how they combine. Limits and offsets are numbers
of documents and must not be negative; pages are counted from 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.counted import count_by
from projections.estimates import FLOW_RUN_DOCUMENT, TASK_RUN_DOCUMENT
from projections.filters.condition import Condition
from projections.filters.related import Filters, deployments_where, flow_runs_where, flows_where, task_runs_where
from projections.limit_documents import DEPLOYMENT_DOCUMENT
from projections.lists import Listed, Page, PageQuery, Source, json_array
from projections.sorting import DeploymentSort, FlowRunSort, FlowSort, Sort, TaskRunSort, order_of

PAGE_SIZE = 200
"""How many documents a list holds when nobody says."""

DOCUMENT = sql.SQL("doc")
FLOWS = Source("flows", DOCUMENT)
DEPLOYMENTS = Source("deployments", DEPLOYMENT_DOCUMENT)
FLOW_RUNS = Source("flow_runs", FLOW_RUN_DOCUMENT, "flow_run_documents")
TASK_RUNS = Source("task_runs", TASK_RUN_DOCUMENT, "task_run_documents")
FLOW_RUN_STATES = Source("flow_run_states", DOCUMENT)
TASK_RUN_STATES = Source("task_run_states", DOCUMENT)


def _one(source: Source, column: str = "id") -> str:
    statement = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE {} = %s")
    return statement.format(source.document, source.joined, sql.Identifier(column)).as_string(None)


def _several(source: Source) -> str:
    statement = sql.SQL("SELECT id, convert_to({}, 'UTF8') FROM {} WHERE id = ANY(%s)")
    return statement.format(source.document, source.joined).as_string(None)


def _states(source: Source, run: str) -> str:
    statement = sql.SQL("SELECT doc FROM {} WHERE {} = %s ORDER BY timestamp, version")
    return json_array(statement.format(source.rows, sql.Identifier(run))).as_string(None)


# Reading by id is on the hot path: these statements are put together once, and every connection keeps them prepared.
READ_FLOW = _one(FLOWS)
READ_FLOW_BY_NAME = _one(FLOWS, "name")
READ_DEPLOYMENT = _one(DEPLOYMENTS)
READ_DEPLOYMENT_BY_NAME = (
    sql.SQL(
        "SELECT convert_to({}, 'UTF8') FROM read.deployments JOIN read.flows ON flows.id = flow_id"
        " WHERE flows.name = %s AND deployments.name = %s"
    )
    .format(DEPLOYMENT_DOCUMENT)
    .as_string(None)
)
READ_FLOW_RUN = _one(FLOW_RUNS)
READ_FLOW_RUN_STATE = _one(FLOW_RUN_STATES)
READ_FLOW_RUN_STATES = _states(FLOW_RUN_STATES, "flow_run_id")
READ_TASK_RUN = _one(TASK_RUNS)
READ_TASK_RUN_STATE = _one(TASK_RUN_STATES)
READ_FLOW_RUNS_BY_ID = _several(FLOW_RUNS)
READ_TASK_RUNS_BY_ID = _several(TASK_RUNS)
READ_TASK_RUN_STATES = _states(TASK_RUN_STATES, "task_run_id")


async def read_flow(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a flow, or None."""
    return await _read(connection, READ_FLOW, id)


async def read_flow_by_name(connection: AsyncConnection, name: str) -> bytes | None:
    """The document of the flow of that name, or None."""
    return await _read(connection, READ_FLOW_BY_NAME, name)


async def read_deployment(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a deployment, or None."""
    return await _read(connection, READ_DEPLOYMENT, id)


async def read_deployment_by_name(connection: AsyncConnection, flow_name: str, name: str) -> bytes | None:
    """The document of the deployment of that name, of the flow of that name, or None."""
    return await _read(connection, READ_DEPLOYMENT_BY_NAME, flow_name, name)


async def read_flow_run(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a flow run as of now, or None."""
    return await _read(connection, READ_FLOW_RUN, id)


async def read_flow_runs_by_id(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, bytes]:
    """The documents of those of the flow runs that there are."""
    return await _by_id(connection, READ_FLOW_RUNS_BY_ID, ids)


async def read_task_runs_by_id(connection: AsyncConnection, ids: list[UUID]) -> dict[UUID, bytes]:
    """The documents of those of the task runs that there are."""
    return await _by_id(connection, READ_TASK_RUNS_BY_ID, ids)


async def _by_id(connection: AsyncConnection, statement: str, ids: list[UUID]) -> dict[UUID, bytes]:
    cursor = await connection.execute(statement, [ids], prepare=True, binary=True)
    return dict(await cursor.fetchall())


async def read_flow_run_state(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of one state that a flow run had, by the state's own id, or None."""
    return await _read(connection, READ_FLOW_RUN_STATE, id)


async def read_flow_run_states(connection: AsyncConnection, flow_run_id: UUID) -> bytes:
    """The states that a flow run had, oldest first; an empty array where there is no such run."""
    return await _read_history(connection, READ_FLOW_RUN_STATES, flow_run_id)


async def read_task_run(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of a task run as of now, or None."""
    return await _read(connection, READ_TASK_RUN, id)


async def read_task_run_state(connection: AsyncConnection, id: UUID) -> bytes | None:
    """The document of one state that a task run had, by the state's own id, or None."""
    return await _read(connection, READ_TASK_RUN_STATE, id)


async def read_task_run_states(connection: AsyncConnection, task_run_id: UUID) -> bytes:
    """The states that a task run had, oldest first; an empty array where there is no such run."""
    return await _read_history(connection, READ_TASK_RUN_STATES, task_run_id)


@dataclass(frozen=True)
class Kind:
    """A kind of thing that there are lists of, how filters apply to it, and the order of a list where none is given."""

    source: Source
    where: Callable[[Filters], Condition]
    sort: Sort


LISTED_FLOWS = Kind(FLOWS, flows_where, FlowSort.NAME_ASC)
LISTED_DEPLOYMENTS = Kind(DEPLOYMENTS, deployments_where, DeploymentSort.NAME_ASC)
LISTED_FLOW_RUNS = Kind(FLOW_RUNS, flow_runs_where, FlowRunSort.ID_DESC)
LISTED_TASK_RUNS = Kind(TASK_RUNS, task_runs_where, TaskRunSort.ID_DESC)


def page_query(kind: Kind, page: Page, sort: Sort | None = None, **filters: Unpack[Filters]) -> PageQuery:
    """The query for one page of the things of a kind that fit. Raises UnusableCursor and UnknownColumn."""
    return PageQuery(kind.source, kind.where(filters), sort or kind.sort, page)


async def read_listed(
    connection: AsyncConnection, kind: Kind, page: Page, sort: Sort | None = None, **filters: Unpack[Filters]
) -> Listed:
    """One page of the things of a kind that fit. Raises UnusableCursor and UnknownColumn."""
    return await page_query(kind, page, sort, **filters).read(connection)


class CountQuery:
    """The query for how many things of a kind fit, from the counters where those can answer (see `counted`)."""

    def __init__(self, kind: Kind, **filters: Unpack[Filters]) -> None:
        self._query = count_by(kind.source.table, kind.where(filters), filters)

    async def read(self, connection: AsyncConnection) -> int:
        """How many there are now."""
        rows = await self._query.rows(connection)
        return int(rows[0][0])


async def count_listed(connection: AsyncConnection, kind: Kind, **filters: Unpack[Filters]) -> int:
    """How many things of a kind fit."""
    return await CountQuery(kind, **filters).read(connection)


async def read_ids(connection: AsyncConnection, kind: Kind, *, limit: int, **filters: Unpack[Filters]) -> list[UUID]:
    """The ids of the first things of a kind that fit, in the order that a list has when none is given."""
    where = kind.where(filters)
    statement = sql.SQL("SELECT id FROM {} WHERE {} ORDER BY {} LIMIT %s").format(
        kind.source.rows, where.text, order_of(kind.sort).clause
    )
    rows = await (await connection.execute(statement, [*where.values, limit], prepare=False)).fetchall()
    return [row[0] for row in rows]


async def read_pages(
    connection: AsyncConnection,
    kind: Kind,
    *,
    sort: Sort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the things of a kind that fit (see `paginate`)."""
    count = await count_listed(connection, kind, **filters)
    listed = await read_listed(connection, kind, Page(limit, (page - 1) * limit), sort, **filters)
    return paginate(listed.documents, count=count, limit=limit, page=page)


def paginate(results: bytes, *, count: int, limit: int, page: int) -> bytes:
    """One page of `limit` documents as JSON: the documents, how many there are in all, and which of how many pages."""
    pages = -(-count // limit) if limit else 0
    return b'{"results":%s,"count":%d,"limit":%d,"pages":%d,"page":%d}' % (results, count, limit, pages, page)


async def read_flows(
    connection: AsyncConnection,
    *,
    sort: FlowSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the flows that fit as a JSON array; by name if no sort is given."""
    page = Page(limit, offset, columns=None if columns is None else tuple(columns))
    return (await read_listed(connection, LISTED_FLOWS, page, sort, **filters)).documents


async def count_flows(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many flows fit."""
    return await count_listed(connection, LISTED_FLOWS, **filters)


async def paginate_flows(
    connection: AsyncConnection,
    *,
    sort: FlowSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the flows that fit (see `paginate`)."""
    return await read_pages(connection, LISTED_FLOWS, sort=sort, limit=limit, page=page, **filters)


async def read_deployments(
    connection: AsyncConnection,
    *,
    sort: DeploymentSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the deployments that fit as a JSON array; by name if no sort is given."""
    page = Page(limit, offset, columns=None if columns is None else tuple(columns))
    return (await read_listed(connection, LISTED_DEPLOYMENTS, page, sort, **filters)).documents


async def count_deployments(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many deployments fit."""
    return await count_listed(connection, LISTED_DEPLOYMENTS, **filters)


async def paginate_deployments(
    connection: AsyncConnection,
    *,
    sort: DeploymentSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the deployments that fit (see `paginate`)."""
    return await read_pages(connection, LISTED_DEPLOYMENTS, sort=sort, limit=limit, page=page, **filters)


async def read_flow_runs(
    connection: AsyncConnection,
    *,
    sort: FlowRunSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the flow runs that fit, as of now, as a JSON array; newest first if no sort is given."""
    page = Page(limit, offset, columns=None if columns is None else tuple(columns))
    return (await read_listed(connection, LISTED_FLOW_RUNS, page, sort, **filters)).documents


async def count_flow_runs(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many flow runs fit."""
    return await count_listed(connection, LISTED_FLOW_RUNS, **filters)


async def paginate_flow_runs(
    connection: AsyncConnection,
    *,
    sort: FlowRunSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the flow runs that fit (see `paginate`)."""
    return await read_pages(connection, LISTED_FLOW_RUNS, sort=sort, limit=limit, page=page, **filters)


async def read_task_runs(
    connection: AsyncConnection,
    *,
    sort: TaskRunSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    columns: Sequence[str] | None = None,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the task runs that fit, as of now, as a JSON array; newest first if no sort is given."""
    page = Page(limit, offset, columns=None if columns is None else tuple(columns))
    return (await read_listed(connection, LISTED_TASK_RUNS, page, sort, **filters)).documents


async def count_task_runs(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many task runs fit."""
    return await count_listed(connection, LISTED_TASK_RUNS, **filters)


async def paginate_task_runs(
    connection: AsyncConnection,
    *,
    sort: TaskRunSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the task runs that fit (see `paginate`)."""
    return await read_pages(connection, LISTED_TASK_RUNS, sort=sort, limit=limit, page=page, **filters)


async def _read(connection: AsyncConnection, statement: str, *key: UUID | str) -> bytes | None:
    document: bytes | None = await _value(connection, statement, key, prepare=True)
    return document


async def _read_history(connection: AsyncConnection, statement: str, run_id: UUID) -> bytes:
    states: bytes = await _value(connection, statement, [run_id], prepare=True)
    return states


async def _value(
    connection: AsyncConnection, statement: str | sql.Composed, values: Sequence[Any], prepare: bool | None = None
) -> Any:
    # Binary results are the bytes themselves; as text they would come as hexadecimal digits.
    cursor = await connection.execute(statement, values, prepare=prepare, binary=True)
    row = await cursor.fetchone()
    return row[0] if row else None
