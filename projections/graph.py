"""The graph of a flow run: its task runs and subflows, and whose results each of them took in.

Two shapes: the dependency map of the first servers, a list of task runs with what they depend on, and the nodes and
edges that pages draw since 2.13. Both are made by PostgreSQL from the rows of task runs.
"""

from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.columns import AS_TIME
from projections.estimates import ESTIMATED_RUN_TIME
from projections.lists import json_array

MOST_NODES = 10_000
"""How many nodes a graph has at most. Source: server 3.9.1."""


class GraphTooLarge(Exception):
    """A flow run has more than so many nodes; its graph would help nobody. `flow_run_id` says which one."""

    def __init__(self, flow_run_id: UUID, most: int) -> None:
        super().__init__(f"The graph of flow run {flow_run_id} has more than {most} nodes.")
        self.flow_run_id = flow_run_id


def _time(column: str) -> sql.Composed:
    return sql.SQL(AS_TIME).format(column=sql.SQL(column))


READ_DEPENDENCIES = json_array(
    sql.SQL(
        'SELECT concat(\'{{"id":"\', task_runs.id, \'","name":\', to_json(name),'
        " ',\"upstream_dependencies\":', dependencies,"
        " ',\"state\":', coalesce(state.doc, 'null'), ',\"expected_start_time\":', {expected},"
        " ',\"start_time\":', {start}, ',\"end_time\":', {end}, ',\"total_run_time\":', total_run_time,"
        " ',\"estimated_run_time\":', {estimated}, ',\"untrackable_result\":',"
        " coalesce(state.doc::json #>> '{{state_details,untrackable_result}}', 'false'), '}}')"
        " FROM read.task_runs LEFT JOIN LATERAL (SELECT doc FROM read.task_run_states AS state"
        " WHERE state.task_run_id = task_runs.id AND state.id = task_runs.state_id LIMIT 1) AS state ON true"
        " WHERE flow_run_id = %(id)s ORDER BY expected_start_time, task_runs.id"
    ).format(
        expected=_time("expected_start_time"),
        start=_time("start_time"),
        end=_time("end_time"),
        estimated=ESTIMATED_RUN_TIME,
    )
).as_string(None)

_NODES = """
WITH node AS MATERIALIZED (
    SELECT
        task.id AS task_id, coalesce(subflow.id, task.id) AS id, task.upstream, task.encapsulating,
        subflow.id IS NOT NULL AS is_subflow,
        coalesce(flow.name || ' / ' || subflow.name, task.name) AS label,
        coalesce(subflow.state_type, task.state_type) AS state_type,
        coalesce(subflow.begin_time, task.start_time, task.expected_start_time) AS start_time,
        coalesce(
            subflow.end_time, task.end_time, CASE WHEN task.state_type = 'COMPLETED' THEN task.expected_start_time END
        ) AS end_time
    FROM read.task_runs AS task
    LEFT JOIN read.flow_runs AS subflow ON subflow.parent_task_run_id = task.id
    LEFT JOIN read.flows AS flow ON flow.id = subflow.flow_id
    WHERE task.flow_run_id = %(id)s
        AND coalesce(subflow.begin_time, task.start_time, task.expected_start_time) IS NOT NULL
), known AS MATERIALIZED (
    SELECT task_id AS name, id, start_time FROM node
    UNION ALL
    SELECT id, id, start_time FROM node WHERE is_subflow
), edge AS MATERIALIZED (
    SELECT node.id AS child, node.start_time AS child_start, known.id AS parent, known.start_time AS parent_start
    FROM node CROSS JOIN LATERAL unnest(node.upstream) AS name JOIN known USING (name)
), parents AS (
    SELECT child AS id, string_agg('{{"id":"' || parent || '"}}', ',' ORDER BY parent_start, parent) AS edges
    FROM (SELECT DISTINCT * FROM edge) AS once GROUP BY child
), children AS (
    SELECT parent AS id, string_agg('{{"id":"' || child || '"}}', ',' ORDER BY child_start, child) AS edges
    FROM (SELECT DISTINCT * FROM edge) AS once GROUP BY parent
), around AS (
    SELECT node.id, string_agg('{{"id":"' || known.id || '"}}', ',' ORDER BY known.start_time, known.id) AS edges
    FROM node CROSS JOIN LATERAL unnest(node.encapsulating) AS name JOIN known USING (name) GROUP BY node.id
), shown AS (
    SELECT node.id, start_time, end_time, parents.edges IS NULL AS is_root, concat(
        '["', node.id, '",{{"kind":"', CASE WHEN is_subflow THEN 'flow-run' ELSE 'task-run' END,
        '","id":"', node.id, '","label":', to_json(label),
        ',"state_type":', coalesce(to_json(state_type)::text, 'null'),
        ',"start_time":', {start_time}, ',"end_time":', {end_time},
        ',"parents":[', parents.edges, '],"children":[', children.edges, '],"encapsulating":[', around.edges,
        '],"artifacts":[]}}]'
    ) AS doc
    FROM node
    LEFT JOIN parents USING (id) LEFT JOIN children USING (id) LEFT JOIN around USING (id)
    WHERE end_time IS NULL OR end_time >= %(since)s
    ORDER BY start_time, end_time, id LIMIT %(most)s
), states AS (
    SELECT string_agg(
        concat('{{"id":"', id, '","timestamp":', {timestamp}, ',"type":', (doc::json -> 'type')::text,
            ',"name":', (doc::json -> 'name')::text, '}}'),
        ',' ORDER BY timestamp, version
    ) AS docs
    FROM read.flow_run_states WHERE flow_run_id = %(id)s
)
SELECT (SELECT count(*) FROM shown), convert_to(concat(
    '{{"start_time":', {begin_time}, ',"end_time":', {run_end},
    ',"root_node_ids":[',
    (SELECT string_agg('"' || id || '"', ',' ORDER BY start_time, end_time, id) FROM shown WHERE is_root),
    '],"nodes":[', (SELECT string_agg(doc, ',' ORDER BY start_time, end_time, id) FROM shown),
    '],"artifacts":[],"states":[', (SELECT docs FROM states), ']}}'
), 'UTF8')
FROM read.flow_runs AS run WHERE run.id = %(id)s
"""

READ_GRAPH = (
    sql.SQL(_NODES)
    .format(
        start_time=_time("start_time"),
        end_time=_time("end_time"),
        timestamp=_time("timestamp"),
        begin_time=_time("run.begin_time"),
        run_end=_time("run.end_time"),
    )
    .as_string(None)
)


async def read_task_run_dependencies(connection: AsyncConnection, flow_run_id: UUID) -> bytes | None:
    """The task runs of a flow run and the runs that each depends on, as a JSON array; None where there is no such run.

    Task runs come in the order in which they were expected to start.
    """
    known = await connection.execute("SELECT 1 FROM read.flow_runs WHERE id = %s", [flow_run_id])
    if await known.fetchone() is None:
        return None
    cursor = await connection.execute(READ_DEPENDENCIES, {"id": flow_run_id}, prepare=True, binary=True)
    row = await cursor.fetchone()
    return row[0] if row else None


async def read_graph(
    connection: AsyncConnection, flow_run_id: UUID, since: datetime | None = None, most: int = MOST_NODES
) -> bytes | None:
    """The nodes and edges of a flow run, as JSON; None where there is no such run. Raises GraphTooLarge.

    With `since`, only nodes that had not ended by then. An input that names the task run a subflow stands behind is an
    edge to the subflow.
    """
    asked = {"id": flow_run_id, "since": since or "-infinity", "most": most + 1}
    cursor = await connection.execute(READ_GRAPH, asked, prepare=True, binary=True)
    row = await cursor.fetchone()
    if row is None:
        return None
    number, graph = row
    if number > most:
        raise GraphTooLarge(flow_run_id, most)
    return bytes(graph)
