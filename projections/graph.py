"""The graph of a flow run: its task runs and subflows, and whose results each of them took in.

Two shapes: the dependency map of the first servers, a list of task runs with what they depend on, and the nodes and
edges that pages draw since 2.13. Both are made from the rows of task runs; the edges of the second are followed here,
which took PostgreSQL four times as long.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection, sql

from projections.columns import AS_TIME
from projections.estimates import ESTIMATED_RUN_TIME

MOST_NODES = 10_000
"""How many nodes a graph has at most. Source: server 3.9.1."""


class GraphTooLarge(Exception):
    """A flow run has more than so many nodes; its graph would help nobody. `flow_run_id` says which one."""

    def __init__(self, flow_run_id: UUID, most: int) -> None:
        super().__init__(f"The graph of flow run {flow_run_id} has more than {most} nodes.")
        self.flow_run_id = flow_run_id


def _time(column: str) -> sql.Composed:
    return sql.SQL(AS_TIME).format(column=sql.SQL(column))


# Looking for the words first spares the parsing of nearly all states.
_DEPENDENCIES = """
SELECT convert_to(concat(
    '{{"id":"', task.id, '","name":', to_json(name), ',"upstream_dependencies":', dependencies,
    ',"state":', coalesce(state.doc, 'null'), ',"expected_start_time":', {expected_start_time},
    ',"start_time":', {start_time}, ',"end_time":', {end_time}, ',"total_run_time":', total_run_time,
    ',"estimated_run_time":', {estimated_run_time}, ',"untrackable_result":', CASE
        WHEN state.doc LIKE '%%"untrackable_result":true%%'
        THEN coalesce(state.doc::json #>> '{{state_details,untrackable_result}}', 'false')
        ELSE 'false'
    END, '}}'
), 'UTF8')
FROM read.task_runs AS task
LEFT JOIN LATERAL (
    SELECT doc FROM read.task_run_states AS state
    WHERE state.task_run_id = task.id AND state.id = task.state_id LIMIT 1
) AS state ON true
WHERE flow_run_id = %(id)s ORDER BY expected_start_time, task.id
"""

# The run and its nodes in one go, told apart by the id of a task run: asking a second time costs as much as a node does
# fifty times. A state's document begins with its id and its type, and is looked into no further.
_RUN_AND_NODES = """
SELECT
    NULL, {begin_time}, {end_time},
    coalesce((
        SELECT string_agg(
            '{{"id":"' || id || '","timestamp":' || {timestamp} || ',"type":"' || split_part(doc, '"', 8)
                || '","name":' || to_json(name) || '}}',
            ',' ORDER BY timestamp, version
        ) FROM read.flow_run_states WHERE flow_run_id = run.id
    ), ''),
    EXISTS (SELECT 1 FROM telemetry.artifacts WHERE flow_run_id = run.id), NULL
FROM read.flow_runs AS run WHERE run.id = %(id)s
UNION ALL (
    SELECT
        task.id::text, subflow.id::text,
        array_to_string(task.upstream, ','), array_to_string(task.encapsulating, ','),
        at.end_time IS NULL OR at.end_time >= %(since)s,
        '"label":' || to_json(coalesce(flow.name || ' / ' || subflow.name, task.name))
            || ',"state_type":' || coalesce('"' || coalesce(subflow.state_type, task.state_type) || '"', 'null')
            || ',"start_time":' || {node_start_time} || ',"end_time":' || {node_end_time}
    FROM read.task_runs AS task
    LEFT JOIN read.flow_runs AS subflow ON subflow.parent_task_run_id = task.id
    LEFT JOIN read.flows AS flow ON flow.id = subflow.flow_id
    CROSS JOIN LATERAL (
        SELECT
            coalesce(subflow.begin_time, task.start_time, task.expected_start_time) AS start_time,
            coalesce(
                subflow.end_time, task.end_time,
                CASE WHEN task.state_type = 'COMPLETED' THEN task.expected_start_time END
            ) AS end_time
    ) AS at
    WHERE task.flow_run_id = %(id)s AND at.start_time IS NOT NULL
    ORDER BY at.start_time, at.end_time, coalesce(subflow.id, task.id)
)
"""

_ARTIFACTS = """
SELECT task_run_id::text, concat(
    '{{"id":"', id, '","created":', {created},
    ',"key":', coalesce(to_json(key)::text, 'null'), ',"type":', to_json(type),
    ',"is_latest":', to_json(key IS NULL OR EXISTS (
        SELECT 1 FROM telemetry.artifact_keys WHERE latest_id = artifacts.id
    )),
    ',"data":', coalesce(CASE WHEN type = 'progress' THEN data::text END, 'null'), '}}'
)
FROM telemetry.artifacts WHERE flow_run_id = %(id)s AND type <> 'result' ORDER BY created, id LIMIT %(most)s
"""

READ_DEPENDENCIES = (
    sql.SQL(_DEPENDENCIES)
    .format(
        expected_start_time=_time("expected_start_time"),
        start_time=_time("start_time"),
        end_time=_time("end_time"),
        estimated_run_time=ESTIMATED_RUN_TIME,
    )
    .as_string(None)
)
READ_RUN_AND_NODES = (
    sql.SQL(_RUN_AND_NODES)
    .format(
        begin_time=_time("run.begin_time"),
        end_time=_time("run.end_time"),
        timestamp=_time("timestamp"),
        node_start_time=_time("at.start_time"),
        node_end_time=_time("at.end_time"),
    )
    .as_string(None)
)
READ_ARTIFACTS = sql.SQL(_ARTIFACTS).format(created=_time("created")).as_string(None)

Node = tuple[str, str | None, str, str, bool, str]
"""A task run and the subflow in its place, by their ids; what it depends on and what it was called in, named by ids;
whether it is shown; its own facts as JSON.
"""


async def read_task_run_dependencies(connection: AsyncConnection, flow_run_id: UUID) -> bytes | None:
    """The task runs of a flow run and the runs that each depends on, as a JSON array; None where there is no such run.

    Task runs come in the order in which they were expected to start.
    """
    cursor = await connection.execute(READ_DEPENDENCIES, {"id": flow_run_id}, prepare=True, binary=True)
    rows = await cursor.fetchall()
    if not rows:
        known = await connection.execute("SELECT 1 FROM read.flow_runs WHERE id = %s", [flow_run_id])
        if await known.fetchone() is None:
            return None
    return b"[%s]" % b",".join([row[0] for row in rows])


async def read_graph(
    connection: AsyncConnection, flow_run_id: UUID, since: datetime | None = None, most: int = MOST_NODES
) -> bytes | None:
    """The nodes and edges of a flow run, as JSON; None where there is no such run. Raises GraphTooLarge.

    With `since`, only nodes that had not ended by then. An input that names the task run a subflow stands behind is an
    edge to the subflow.
    """
    asked = {"id": flow_run_id, "since": since or "-infinity"}
    cursor = await connection.execute(READ_RUN_AND_NODES, asked, prepare=True, binary=True)
    rows = await cursor.fetchall()
    run = next((row for row in rows if row[0] is None), None)
    if run is None:
        return None
    nodes: list[Node] = [row for row in rows if row[0] is not None]
    if sum(node[4] for node in nodes) > most:
        raise GraphTooLarge(flow_run_id, most)
    _, begin, end, states, has_artifacts, _ = run
    artifacts = await _artifacts(connection, flow_run_id, most) if has_artifacts else {}
    roots, drawn = _drawn(nodes, artifacts)
    own = ",".join(artifacts.get(None, ()))
    return (
        f'{{"start_time":{begin},"end_time":{end},"root_node_ids":[{roots}],"nodes":[{drawn}],'
        f'"artifacts":[{own}],"states":[{states}]}}'
    ).encode()


async def _artifacts(connection: AsyncConnection, flow_run_id: UUID, most: int) -> dict[str | None, list[str]]:
    """The artifacts of a flow run by task run, under None its own; results, which clients keep as artifacts too, are
    left out.
    """
    asked = {"id": flow_run_id, "most": most}
    cursor = await connection.execute(READ_ARTIFACTS, asked, prepare=True, binary=True)
    found: dict[str | None, list[str]] = {}
    for task_run_id, artifact in await cursor.fetchall():
        found.setdefault(task_run_id, []).append(artifact)
    return found


def _drawn(nodes: Sequence[Node], artifacts: Mapping[str | None, Sequence[str]]) -> tuple[str, str]:
    """The ids of the nodes without parents, and all nodes with edges and artifacts, as the insides of JSON arrays.

    Nodes come, and are named by others, in the order in which they began.
    """
    places: dict[str, tuple[int, ...]] = {}
    ids = []
    for place, (task_id, subflow_id, _, _, _, _) in enumerate(nodes):
        places[task_id] = (*places.get(task_id, ()), place)
        if subflow_id is not None:
            places[subflow_id] = (*places.get(subflow_id, ()), place)
        ids.append(subflow_id or task_id)
    # Edges are put together as texts at once: lists of them, joined in the end, took more than twice as long.
    edges = [f'{{"id":"{id}"}}' for id in ids]
    parents: list[str] = []
    children = [""] * len(nodes)
    for edge, (_, _, upstream, _, _, _) in zip(edges, nodes, strict=True):
        known = _places(upstream, places) if upstream else ()
        parents.append(",".join([edges[parent] for parent in known]))
        for parent in known:
            others = children[parent]
            children[parent] = f"{others},{edge}" if others else edge
    roots, drawn = [], []
    for id, node, above, below in zip(ids, nodes, parents, children, strict=True):
        task_id, subflow_id, _, encapsulating, is_shown, facts = node
        if not is_shown:
            continue
        if not above:
            roots.append(f'"{id}"')
        kind = "task-run" if subflow_id is None else "flow-run"
        around = ",".join([edges[place] for place in _places(encapsulating, places)]) if encapsulating else ""
        own = ",".join(artifacts.get(task_id, ())) if artifacts else ""
        drawn.append(
            f'["{id}",{{"kind":"{kind}","id":"{id}",{facts},"parents":[{above}],"children":[{below}],'
            f'"encapsulating":[{around}],"artifacts":[{own}]}}]'
        )
    return ",".join(roots), ",".join(drawn)


def _places(names: str, places: Mapping[str, tuple[int, ...]]) -> Sequence[int]:
    """Where those that are named stand, if they are nodes of the graph, each once."""
    # Most depend on one, which needs neither cutting nor sorting.
    alone = places.get(names)
    return alone or sorted({place for name in names.split(",") for place in places.get(name, ())})
