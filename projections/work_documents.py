"""The documents by which the API shows work pools, queues and workers, made by PostgreSQL when they are read.

What is joined: statuses, which follow from when someone was last heard of, and how many slots are taken. All times are
the database's.
"""

from typing import LiteralString

from psycopg import sql

from domain.states import StateType
from domain.work_pool import AGENT_TYPE

POLLED_SECONDS = 60
"""For how long a queue or a deployment counts as ready after someone asked it for runs. Source: server 3.9.1."""

USUAL_HEARTBEAT_SECONDS = 30
"""How often a worker that does not say so is taken to be heard of."""

MISSED_HEARTBEATS = 3
"""After how many intervals without a word a worker counts as offline. Source: server 3.9.1."""

OCCUPYING = (StateType.PENDING, StateType.RUNNING)
"""The states in which a run takes a slot of its queue and of its pool. Source: server 3.9.1."""

TIME: LiteralString = (
    """coalesce('"' || to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"', 'null')"""
)
"""A time as JSON text."""

_OCCUPYING = sql.SQL(", ").join(sql.Literal(type.value) for type in OCCUPYING)

IS_ONLINE = sql.SQL(
    "workers.last_heartbeat_time >= now()"
    " - {missed} * coalesce(workers.heartbeat_interval_seconds, {usual}) * interval '1 second'"
).format(missed=sql.Literal(MISSED_HEARTBEATS), usual=sql.Literal(USUAL_HEARTBEAT_SECONDS))

OCCUPIED_OF_QUEUE = sql.SQL(
    "(SELECT count(*) FROM read.flow_runs AS held"
    " WHERE held.work_queue_id = work_queues.id AND held.state_type IN ({}))"
).format(_OCCUPYING)

OCCUPIED_OF_POOL = sql.SQL(
    "(SELECT count(*) FROM read.work_queues AS part JOIN read.flow_runs AS held ON held.work_queue_id = part.id"
    " WHERE part.work_pool_id = work_pools.id AND held.state_type IN ({}))"
).format(_OCCUPYING)

POOL_STATUS = sql.SQL(
    "CASE WHEN type = {agents} THEN 'null' WHEN is_paused THEN '\"PAUSED\"'"
    " WHEN EXISTS (SELECT 1 FROM telemetry.workers WHERE workers.work_pool_id = work_pools.id AND {online})"
    " THEN '\"READY\"' ELSE '\"NOT_READY\"' END"
).format(agents=sql.Literal(AGENT_TYPE), online=IS_ONLINE)

POOL_DOCUMENT = sql.SQL(
    "concat('{{\"status\":', {status}, ',\"active_slots\":',"
    " CASE WHEN concurrency_limit IS NULL THEN 'null' ELSE {slots}::text END, ',', right(work_pools.doc, -1))"
).format(status=POOL_STATUS, slots=OCCUPIED_OF_POOL)
"""A work pool, from a row of its read table."""

_POLLED_LATELY = sql.SQL("last_polled >= now() - {} * interval '1 second'").format(sql.Literal(POLLED_SECONDS))
_POLL = sql.SQL("(SELECT {} FROM telemetry.polls WHERE polls.id = work_queues.id)")

QUEUE_DOCUMENT = sql.SQL(
    "concat('{{\"work_pool_name\":',"
    " coalesce((SELECT to_json(name)::text FROM read.work_pools WHERE work_pools.id = work_pool_id), 'null'),"
    " ',\"last_polled\":', coalesce({polled}, 'null'), ',\"status\":', CASE WHEN is_paused THEN '\"PAUSED\"'"
    " WHEN {lately} THEN '\"READY\"' ELSE '\"NOT_READY\"' END, ',\"active_slots\":',"
    " CASE WHEN concurrency_limit IS NULL THEN 'null' ELSE {slots}::text END, ',', right(work_queues.doc, -1))"
).format(
    polled=_POLL.format(sql.SQL(TIME).format(sql.SQL("last_polled"))),
    lately=_POLL.format(_POLLED_LATELY),
    slots=OCCUPIED_OF_QUEUE,
)
"""A work queue, from a row of its read table."""

WORKER_DOCUMENT = sql.SQL(
    'concat(\'{{"id":"\', id, \'","created":\', {created}, \',"updated":\', {heard}, \',"name":\', to_json(name),'
    ' \',"work_pool_id":"\', work_pool_id, \'","last_heartbeat_time":\', {heard}, \',"heartbeat_interval_seconds":\','
    " coalesce(heartbeat_interval_seconds::text, 'null'), ',\"status\":',"
    " CASE WHEN {online} THEN '\"ONLINE\"' ELSE '\"OFFLINE\"' END, '}}')"
).format(
    created=sql.SQL(TIME).format(sql.SQL("created")),
    heard=sql.SQL(TIME).format(sql.SQL("last_heartbeat_time")),
    online=IS_ONLINE,
)
"""A worker, from its row of telemetry."""

FIELDS_OF_RUN = ("work_queue_id", "work_queue_name", "work_pool_id", "work_pool_name")
"""What documents of flow runs say of the queue of the run."""

QUEUE_NAMES = sql.SQL(
    'concat(\'"work_queue_id":"\', queue.id, \'","work_queue_name":\', to_json(queue.name),'
    ' \',"work_pool_id":"\', pool.id, \'","work_pool_name":\', to_json(pool.name))'
)
QUEUES_IN_POOLS = sql.SQL("read.work_queues AS queue JOIN read.work_pools AS pool ON pool.id = queue.work_pool_id")

READ_QUEUE_NAMES = sql.SQL("SELECT {} FROM {} WHERE queue.id = %s").format(QUEUE_NAMES, QUEUES_IN_POOLS)

QUEUE_OF_RUN = sql.SQL(
    "coalesce(CASE WHEN flow_runs.work_queue_id IS NOT NULL THEN (SELECT {names} FROM {queue}"
    ' WHERE queue.id = flow_runs.work_queue_id) END, \'"work_queue_id":null,"work_queue_name":\''
    " || coalesce(to_json(flow_runs.work_queue_name)::text, 'null')"
    ' || \',"work_pool_id":null,"work_pool_name":null\')'
).format(names=QUEUE_NAMES, queue=QUEUES_IN_POOLS)
"""The same as a part of a document; one that is in no queue any more keeps what it was called."""

FIELDS_OF_DEPLOYMENT = ("work_queue_id", "work_queue_name", "work_pool_name", "last_polled", "status")
"""What documents of deployments say of the queue of their runs, and of who asks for these."""

QUEUE_OF_DEPLOYMENT = sql.SQL(
    "(SELECT concat('\"work_queue_id\":', coalesce(to_json(queue.id)::text, 'null'), ',\"work_queue_name\":',"
    " coalesce(to_json(coalesce(queue.name, deployments.work_queue_name))::text, 'null'), ',\"work_pool_name\":',"
    " coalesce(to_json(pool.name)::text, 'null'), ',\"last_polled\":', {polled}, ',\"status\":',"
    " CASE WHEN {lately} THEN '\"READY\"' ELSE '\"NOT_READY\"' END)"
    " FROM (SELECT max(last_polled) AS last_polled FROM telemetry.polls"
    " WHERE polls.id IN (deployments.id, deployments.work_queue_id)) AS poll"
    " LEFT JOIN ({queue}) ON queue.id = deployments.work_queue_id)"
).format(polled=sql.SQL(TIME).format(sql.SQL("last_polled")), lately=_POLLED_LATELY, queue=QUEUES_IN_POOLS)
