"""The documents by which the API shows concurrency limits and what has one, made by PostgreSQL when they are read.

How many slots are in use moves with the clock: leases that have run out hold none, and slots that decay come free with
time. All times are the database's.
"""

from psycopg import sql

from domain.orchestration.limit_rules import TAG
from projections.work_documents import QUEUE_OF_DEPLOYMENT

TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
CREATED = sql.SQL(TIME.format("created"))
UPDATED = sql.SQL(TIME.format("updated"))

HELD = sql.SQL(
    "SELECT {} FROM read.concurrency_slots AS held"
    " WHERE held.limit_id = concurrency_limits.id AND (expires_at IS NULL OR expires_at > now())"
)

IN_USE = sql.SQL(
    "CASE WHEN slot_decay_per_second > 0"
    " THEN ceil(greatest(level::numeric - slot_decay_per_second::numeric * {seconds}, 0))::bigint"
    " ELSE ({held})::bigint END"
).format(
    # As numeric no decay is too fast or too slow to be multiplied; and the clock that set level_at may be ahead.
    seconds=sql.SQL("greatest(extract(epoch FROM now() - level_at), 0)"),
    held=HELD.format(sql.SQL("coalesce(sum(held.slots), 0)")),
)

LIMIT_DOCUMENT = sql.SQL(
    "json_build_object('id', id, 'created', {created}, 'updated', {updated}, 'active', active, 'name', name,"
    " 'limit', slots, 'active_slots', {in_use}, 'denied_slots', denied_slots,"
    " 'slot_decay_per_second', slot_decay_per_second, 'avg_slot_occupancy_seconds', mean_occupancy)::text"
).format(created=CREATED, updated=UPDATED, in_use=IN_USE)
"""A limit by any name."""

TAG_LIMIT_DOCUMENT = sql.SQL(
    "json_build_object('id', id, 'created', {created}, 'updated', {updated}, 'tag', substr(name, {begin}),"
    " 'concurrency_limit', slots, 'active_slots', to_json(ARRAY({holders})))::text"
).format(
    created=CREATED,
    updated=UPDATED,
    begin=sql.Literal(len(TAG) + 1),
    holders=HELD.format(sql.SQL("holder_id")) + sql.SQL(" AND holder_type = 'task_run' ORDER BY since, holding"),
)
"""A limit on a tag, with the ids of the task runs that hold its slots."""

HOLDER_DOCUMENT = sql.SQL(
    "json_build_object('holding', holding, 'slots', slots, 'since', {since}, 'expires_at', {expires_at},"
    " 'leased', leased, 'holder', CASE WHEN holder_id IS NOT NULL"
    " THEN json_build_object('type', holder_type, 'id', holder_id) END, 'actor', actor)::text"
).format(since=sql.SQL(TIME.format("since")), expires_at=sql.SQL(TIME.format("expires_at")))

DEPLOYMENT_DOCUMENT = sql.SQL(
    "concat('{{\"global_concurrency_limit\":',"
    " coalesce((SELECT {limit} FROM read.concurrency_limits WHERE name = 'deployment:' || deployments.id), 'null'),"
    " ',', {queue}, ',', right(deployments.doc, -1))"
).format(limit=LIMIT_DOCUMENT, queue=QUEUE_OF_DEPLOYMENT)
"""A deployment with its limit and its work queue, from a row of its read table."""
