"""What can be read of flows, deployments and runs: one, a list, how many, and the states a run went through.

Documents are JSON text as the projectors wrote it, joined by PostgreSQL and handed on as bytes; nothing is parsed here.
Lists and counts take `flows`, `flow_runs` and `task_runs` filters; see `filters.related` for how they combine. Limits
and offsets are numbers of documents and must not be negative; pages are counted from 1.
"""

from collections.abc import Sequence
from typing import Any, Unpack
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.estimates import RUN_DOCUMENT
from projections.filters.condition import Condition
from projections.filters.related import Filters, deployments_where, flow_runs_where, flows_where, task_runs_where
from projections.limit_documents import DEPLOYMENT_DOCUMENT
from projections.sorting import DeploymentSort, FlowRunSort, FlowSort, TaskRunSort, order_by

PAGE_SIZE = 200
"""How many documents a list holds when nobody says."""

LAST_ROW = 2**63 - 1
"""PostgreSQL counts no further; what would lie behind an offset beyond that is nothing, not an error."""

FLOWS = sql.SQL("read.flows")
DEPLOYMENTS = sql.SQL("read.deployments")
FLOW_RUNS = sql.SQL("read.flow_runs")
TASK_RUNS = sql.SQL("read.task_runs")
FLOW_RUN_STATES = sql.SQL("read.flow_run_states")
TASK_RUN_STATES = sql.SQL("read.task_run_states")

DOCUMENT = sql.SQL("doc")


def json_array(rows: sql.Composable) -> sql.Composed:
    """The statement that selects, as one JSON array in UTF-8, the JSON texts that another one selects, in its order."""
    return sql.SQL("SELECT convert_to('[' || array_to_string(ARRAY({}), ',') || ']', 'UTF8')").format(rows)


def _one(document: sql.Composable, table: sql.Composable, column: str = "id") -> str:
    statement = sql.SQL("SELECT convert_to({}, 'UTF8') FROM {} WHERE {} = %s")
    return statement.format(document, table, sql.Identifier(column)).as_string(None)


def _several(document: sql.Composable, table: sql.Composable) -> str:
    statement = sql.SQL("SELECT id, convert_to({}, 'UTF8') FROM {} WHERE id = ANY(%s)")
    return statement.format(document, table).as_string(None)


def _history(table: sql.Composable, run: str) -> str:
    statement = sql.SQL("SELECT doc FROM {} WHERE {} = %s ORDER BY timestamp, version")
    return json_array(statement.format(table, sql.Identifier(run))).as_string(None)


# Reading by id is on the hot path: these statements are put together once, and every connection keeps them prepared.
READ_FLOW = _one(DOCUMENT, FLOWS)
READ_FLOW_BY_NAME = _one(DOCUMENT, FLOWS, "name")
READ_DEPLOYMENT = _one(DEPLOYMENT_DOCUMENT, DEPLOYMENTS)
READ_DEPLOYMENT_BY_NAME = (
    sql.SQL(
        "SELECT convert_to({}, 'UTF8') FROM read.deployments JOIN read.flows ON flows.id = flow_id"
        " WHERE flows.name = %s AND deployments.name = %s"
    )
    .format(DEPLOYMENT_DOCUMENT)
    .as_string(None)
)
READ_FLOW_RUN = _one(RUN_DOCUMENT, FLOW_RUNS)
READ_FLOW_RUN_STATE = _one(DOCUMENT, FLOW_RUN_STATES)
READ_FLOW_RUN_STATES = _history(FLOW_RUN_STATES, "flow_run_id")
READ_TASK_RUN = _one(RUN_DOCUMENT, TASK_RUNS)
READ_TASK_RUN_STATE = _one(DOCUMENT, TASK_RUN_STATES)
READ_FLOW_RUNS_BY_ID = _several(RUN_DOCUMENT, FLOW_RUNS)
READ_TASK_RUNS_BY_ID = _several(RUN_DOCUMENT, TASK_RUNS)
READ_TASK_RUN_STATES = _history(TASK_RUN_STATES, "task_run_id")


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


async def read_flows(
    connection: AsyncConnection,
    *,
    sort: FlowSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the flows that fit, as a JSON array; by name if no sort is given."""
    where, order = flows_where(filters), order_by(sort or FlowSort.NAME_ASC)
    return await read_list(connection, DOCUMENT, FLOWS, where, order, limit, offset)


async def count_flows(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many flows fit."""
    return await _count(connection, FLOWS, flows_where(filters))


async def paginate_flows(
    connection: AsyncConnection,
    *,
    sort: FlowSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the flows that fit (see `paginate`)."""
    count = await count_flows(connection, **filters)
    results = await read_flows(connection, sort=sort, limit=limit, offset=(page - 1) * limit, **filters)
    return paginate(results, count=count, limit=limit, page=page)


async def read_deployments(
    connection: AsyncConnection,
    *,
    sort: DeploymentSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the deployments that fit, as a JSON array; by name if no sort is given."""
    where, order = deployments_where(filters), order_by(sort or DeploymentSort.NAME_ASC)
    return await read_list(connection, DEPLOYMENT_DOCUMENT, DEPLOYMENTS, where, order, limit, offset)


async def count_deployments(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many deployments fit."""
    return await _count(connection, DEPLOYMENTS, deployments_where(filters))


async def paginate_deployments(
    connection: AsyncConnection,
    *,
    sort: DeploymentSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the deployments that fit (see `paginate`)."""
    count = await count_deployments(connection, **filters)
    results = await read_deployments(connection, sort=sort, limit=limit, offset=(page - 1) * limit, **filters)
    return paginate(results, count=count, limit=limit, page=page)


async def read_flow_runs(
    connection: AsyncConnection,
    *,
    sort: FlowRunSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the flow runs that fit, as of now, as a JSON array; newest first if no sort is given."""
    where, order = flow_runs_where(filters), order_by(sort or FlowRunSort.ID_DESC)
    return await read_list(connection, RUN_DOCUMENT, FLOW_RUNS, where, order, limit, offset)


async def count_flow_runs(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many flow runs fit."""
    return await _count(connection, FLOW_RUNS, flow_runs_where(filters))


async def paginate_flow_runs(
    connection: AsyncConnection,
    *,
    sort: FlowRunSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the flow runs that fit (see `paginate`)."""
    count = await count_flow_runs(connection, **filters)
    results = await read_flow_runs(connection, sort=sort, limit=limit, offset=(page - 1) * limit, **filters)
    return paginate(results, count=count, limit=limit, page=page)


async def read_task_runs(
    connection: AsyncConnection,
    *,
    sort: TaskRunSort | None = None,
    limit: int = PAGE_SIZE,
    offset: int = 0,
    **filters: Unpack[Filters],
) -> bytes:
    """The documents of the task runs that fit, as of now, as a JSON array; newest first if no sort is given."""
    where, order = task_runs_where(filters), order_by(sort or TaskRunSort.ID_DESC)
    return await read_list(connection, RUN_DOCUMENT, TASK_RUNS, where, order, limit, offset)


async def count_task_runs(connection: AsyncConnection, **filters: Unpack[Filters]) -> int:
    """How many task runs fit."""
    return await _count(connection, TASK_RUNS, task_runs_where(filters))


async def paginate_task_runs(
    connection: AsyncConnection,
    *,
    sort: TaskRunSort | None = None,
    limit: int = PAGE_SIZE,
    page: int = 1,
    **filters: Unpack[Filters],
) -> bytes:
    """One page of the task runs that fit (see `paginate`)."""
    count = await count_task_runs(connection, **filters)
    results = await read_task_runs(connection, sort=sort, limit=limit, offset=(page - 1) * limit, **filters)
    return paginate(results, count=count, limit=limit, page=page)


async def read_list(
    connection: AsyncConnection,
    document: sql.Composable,
    table: sql.Composable,
    where: Condition,
    order: sql.Composable,
    limit: int,
    offset: int,
) -> bytes:
    """A JSON array of what `document` makes of the rows of a table, in order."""
    rows = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT %s OFFSET %s")
    statement = json_array(rows.format(document, table, where.text, order))
    listed: bytes = await _value(connection, statement, [*where.values, limit, min(offset, LAST_ROW)])
    return listed


def paginate(results: bytes, *, count: int, limit: int, page: int) -> bytes:
    """One page of `limit` documents as JSON: the documents, how many there are in all, and which of how many pages."""
    pages = -(-count // limit) if limit else 0
    return b'{"results":%s,"count":%d,"limit":%d,"pages":%d,"page":%d}' % (results, count, limit, pages, page)


async def _count(connection: AsyncConnection, table: sql.Composable, where: Condition) -> int:
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table, where.text)
    count: int = await _value(connection, statement, where.values)
    return count


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
