"""The statements by which the ledger is written and its history read, each under a name."""

from collections.abc import Iterable

from psycopg import sql

BEGIN_UNDER_LOCK = sql.SQL("BEGIN; SELECT pg_advisory_xact_lock({lock})")

HEAD = """
SELECT head.last_position, head.hash, head.recorded_at, identity.id, shape.id,
       ARRAY(
           SELECT DISTINCT originator_id
           FROM generate_series(%s::bigint + 1, head.last_position) AS new(position)
           JOIN ledger.events USING (position)
       )
FROM ledger.identity
CROSS JOIN read.shape
LEFT JOIN LATERAL (
    SELECT last_position, hash, recorded_at FROM ledger.seals ORDER BY last_position DESC LIMIT 1
) AS head ON true
"""
"""Where the log stands, which ledger and shape this is, and what others changed since a position.

Positions are looked up one by one: of a table that is not analyzed yet PostgreSQL takes a third to lie behind any
position, and read all of it for every transaction.
"""

STREAMS = """
SELECT event.originator_id, event.originator_version, event.topic, event.state
FROM unnest(%(ids)s::uuid[]) AS wanted(id)
LEFT JOIN read.snapshots USING (id)
JOIN ledger.events AS event
    ON event.originator_id = wanted.id AND event.originator_version > coalesce(snapshots.version, 0)
UNION ALL
SELECT id, version, topic, doc FROM read.snapshots WHERE id = ANY(%(ids)s)
ORDER BY 1, 2
"""
"""The events of aggregates; a snapshot stands in the place of those before it."""

CACHED_RESULTS = """
SELECT result.task_run_id, state.doc
FROM read.cached_results AS result
JOIN read.task_run_states AS state USING (task_run_id, version)
WHERE cache_key = %s
    AND coalesce((state.doc::json #>> '{state_details,cache_expiration}')::timestamptz > %s, true)
ORDER BY cached_at DESC, version DESC, task_run_id DESC LIMIT 100
"""

IDS_OF_KEYS = """
SELECT kind, key, id FROM ledger.keys JOIN json_to_recordset(%s) AS wanted(kind text, key text) USING (kind, key)
"""

IDS_UNDER_KEY = """
SELECT kind, key, id FROM ledger.keys
WHERE kind = %s AND key >= %s AND starts_with(key, %s) ORDER BY key LIMIT %s
"""

INSERT_EVENTS = """
INSERT INTO ledger.events (position, originator_id, originator_version, topic, state)
SELECT position, originator_id, originator_version, topic, state
FROM json_to_recordset(%s)
    AS event(position bigint, originator_id uuid, originator_version integer, topic text, state text)
"""

INSERT_SEAL = """
INSERT INTO ledger.seals (first_position, last_position, recorded_at, hash, formula) VALUES (%s, %s, %s, %s, 2)
"""

SEAL_STANDS = "SELECT 1 FROM ledger.seals WHERE last_position = %s AND hash = %s"

RELEASE_KEYS = """
DELETE FROM ledger.keys USING json_to_recordset(%s) AS gone(kind text, key text)
WHERE keys.kind = gone.kind AND keys.key = gone.key
"""

CLAIM_KEYS = """
INSERT INTO ledger.keys (kind, key, id)
SELECT kind, key, id FROM json_to_recordset(%s) AS claim(kind text, key text, id uuid)
"""

COUNT_REPEATS = """
INSERT INTO telemetry.repeated_refusals AS seen (originator_id, originator_version, times, last_at)
SELECT originator_id, originator_version, times, %s
FROM json_to_recordset(%s) AS again(originator_id uuid, originator_version integer, times bigint)
ON CONFLICT (originator_id, originator_version)
DO UPDATE SET times = seen.times + excluded.times, last_at = excluded.last_at
"""

ANSWERS = "SELECT key, request, answer FROM ledger.answers WHERE key = ANY(%s)"

KEEP_ANSWERS = """
INSERT INTO ledger.answers (key, request, answer, recorded_at)
SELECT key, decode(request, 'hex'), answer, %s
FROM json_to_recordset(%s) AS kept(key text, request text, answer text)
"""

FORGET_ANSWERS = """
DELETE FROM ledger.answers
WHERE key IN (SELECT key FROM ledger.answers WHERE recorded_at < %s ORDER BY recorded_at LIMIT 100)
"""

SELECT_EVENTS = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = %(id)s AND originator_version > %(gt)s AND originator_version <= %(lte)s
ORDER BY originator_version LIMIT %(limit)s
"""

SELECT_EVENTS_BACKWARDS = """
SELECT originator_id, originator_version, topic, state FROM ledger.events
WHERE originator_id = %(id)s AND originator_version > %(gt)s AND originator_version <= %(lte)s
ORDER BY originator_version DESC LIMIT %(limit)s
"""

SELECT_NOTIFICATIONS = """
SELECT position, originator_id, originator_version, topic, state FROM ledger.events
WHERE position >= %(start)s AND position <= %(stop)s AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
ORDER BY position LIMIT %(limit)s
"""

MAX_POSITION = "SELECT max(position) FROM ledger.events"

LEAF_OF_EVENT = (
    "sha256(convert_to(concat_ws(' ', event.originator_id::text, event.originator_version, octet_length(event.topic),"
    " octet_length(event.state), event.topic || event.state), 'UTF8'))"
)
"""The leaf of an event (see `projections.seals`), as PostgreSQL makes it."""

MOVE_TO_ARCHIVE = sql.SQL(
    """
WITH gone AS (
    DELETE FROM ledger.events AS event USING json_to_recordset(%s) AS written(position bigint, leaf text)
    WHERE event.position = written.position AND {leaf} = decode(written.leaf, 'hex')
    RETURNING event.position, originator_id, originator_version, decode(written.leaf, 'hex') AS leaf
)
INSERT INTO ledger.archived (position, originator_id, originator_version, leaf, archive_id)
SELECT position, originator_id, originator_version, leaf, %s FROM gone
"""
).format(leaf=sql.SQL(LEAF_OF_EVENT))
"""Takes events out of the log whose leaves are those that were given, and puts these in their places."""

BRING_BACK = sql.SQL(
    """
WITH event AS (
    SELECT * FROM json_to_recordset(%s)
        AS event(position bigint, originator_id uuid, originator_version integer, topic text, state text)
), gone AS (
    DELETE FROM ledger.archived USING event
    WHERE archived.position = event.position AND archived.leaf = {leaf} AND archive_id = %s
    RETURNING archived.position
)
INSERT INTO ledger.events (position, originator_id, originator_version, topic, state)
SELECT position, originator_id, originator_version, topic, state FROM event JOIN gone USING (position)
"""
).format(leaf=sql.SQL(LEAF_OF_EVENT))
"""Puts events back in their places in the log, of which the leaves are left there."""

VERSIONS = """
SELECT originator_id, max(originator_version), count(*) FROM ledger.events
WHERE originator_id = ANY(%s) GROUP BY originator_id
"""

RUNS_BELOW = """
SELECT id, flow_run_id FROM read.task_runs WHERE flow_run_id = ANY(%(ids)s)
UNION ALL SELECT id, parent_task_run_id FROM read.flow_runs WHERE parent_task_run_id = ANY(%(ids)s)
"""

NOTE_FILLED = "UPDATE ledger.archives SET done = %s WHERE id = %s"

NEW_IDENTITY = "UPDATE ledger.identity SET id = gen_random_uuid()"


TELEMETRY = (
    "logs",
    "repeated_refusals",
    "artifacts",
    "artifact_keys",
    "polls",
    "workers",
    "client_events",
    "task_workers",
    "followers",
    "set_aside",
    "notification_attempts",
    "notifications",
)
"""The tables of telemetry that speak of what is in the ledger."""


def clear(read_tables: Iterable[str]) -> sql.Composed:
    """Empties the ledger, its telemetry and its read tables."""
    kept = [("ledger", name) for name in ("events", "seals", "keys", "answers", "archived", "archives")]
    kept += [("telemetry", name) for name in TELEMETRY]
    derived = [("read", name) for name in (*read_tables, "run_counts")]
    tables = [sql.Identifier(schema, name) for schema, name in [*kept, *derived]]
    return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(tables))
