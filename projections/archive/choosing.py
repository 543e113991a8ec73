"""What goes into an archive: runs that have ended, of which and of whose kin nothing was recorded for long enough.

That is told by positions in the log, not by times that clients report. What followers of the log have yet to see, or to
tell, stays. A run goes together with its task runs and subflow runs, as one tree, or not at all. What was deleted goes
by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from eventsourcing.persistence import StoredEvent
from psycopg import Connection, sql

from projections.archive.files import Entry
from projections.upkeep import ENDED

EVENTS_PER_FILE = 50_000
"""About how many events a file holds; a tree is never parted."""

FETCHED_AT_ONCE = 2_000

_BOUNDS = """
SELECT coalesce(max(last_position) FILTER (WHERE recorded_at < %s), 0),
       coalesce(max(last_position) FILTER (WHERE formula = 1), 0)
FROM ledger.seals
"""

_FURTHEST_BEHIND = """
SELECT position, name FROM telemetry.followers JOIN ledger.identity ON identity.id = ledger_id
ORDER BY position LIMIT 1
"""

_LATELY = """
CREATE TEMP TABLE lately ON COMMIT DROP AS
SELECT DISTINCT originator_id AS id FROM ledger.events WHERE position > %s
"""

_KIN = sql.SQL(
    """
CREATE TEMP TABLE kin ON COMMIT DROP AS
WITH RECURSIVE below(id, parent) AS (
    SELECT id, flow_run_id FROM read.task_runs WHERE flow_run_id IS NOT NULL
    UNION ALL SELECT id, parent_task_run_id FROM read.flow_runs WHERE parent_task_run_id IS NOT NULL
), kin(tree, id) AS (
    SELECT id, id FROM (
        SELECT id FROM read.flow_runs AS run WHERE state_type IN ({ended})
            AND NOT EXISTS (SELECT FROM read.task_runs AS parent WHERE parent.id = run.parent_task_run_id)
        UNION ALL
        SELECT id FROM read.task_runs AS run WHERE state_type IN ({ended})
            AND NOT EXISTS (SELECT FROM read.flow_runs AS parent WHERE parent.id = run.flow_run_id)
    ) AS root
    WHERE NOT EXISTS (SELECT FROM lately WHERE lately.id = root.id)
    UNION
    SELECT kin.tree, below.id FROM kin JOIN below ON below.parent = kin.id
)
SELECT tree, id FROM kin
"""
).format(ended=ENDED)

_LEAVE_OUT = sql.SQL(
    """
DELETE FROM kin WHERE tree IN (
    SELECT tree FROM kin LEFT JOIN read.flow_runs AS flow USING (id) LEFT JOIN read.task_runs AS task USING (id)
    WHERE coalesce(flow.state_type, task.state_type, '') NOT IN ({ended})
        OR EXISTS (SELECT FROM lately WHERE lately.id = kin.id)
        OR kin.id IN (SELECT flow_run_id FROM telemetry.notifications WHERE status = 'queued')
        OR kin.id IN (SELECT flow_run_id FROM telemetry.notifications WHERE status = 'sending')
)
"""
).format(ended=ENDED)

_DELETED = """
INSERT INTO kin SELECT originator_id, originator_id FROM ledger.events
WHERE topic IN ('FlowRun.Deleted', 'TaskRun.Deleted') AND position <= %s
    AND NOT EXISTS (SELECT FROM lately WHERE lately.id = originator_id)
"""

_TREES = """
CREATE TEMP TABLE trees ON COMMIT DROP AS
SELECT tree, min(position) AS first, count(*) AS events
FROM kin JOIN ledger.events ON originator_id = kin.id GROUP BY tree
"""

_PARTS = """
CREATE TEMP TABLE parts ON COMMIT DROP AS
SELECT tree, events, (sum(events) OVER (ORDER BY first, tree) - events)::bigint / %s AS part
FROM trees WHERE first > %s
"""

_COUNTED = """
SELECT count(*) FILTER (WHERE topic LIKE 'FlowRun.%%'), count(*) FILTER (WHERE topic LIKE 'TaskRun.%%'),
       (SELECT count(*) FROM trees WHERE first <= %s), (SELECT coalesce(sum(events), 0)::bigint FROM parts)
FROM parts JOIN kin USING (tree) JOIN ledger.events ON originator_id = kin.id AND originator_version = 1
"""

_PART_NUMBERS = "SELECT DISTINCT part FROM parts ORDER BY part"

_PART = """
SELECT position, tree, originator_id, originator_version, topic, convert_to(state, 'UTF8')
FROM parts JOIN kin USING (tree) JOIN ledger.events ON originator_id = kin.id WHERE part = %s ORDER BY position
"""

_CONTEXT = """
WITH named AS (
    SELECT DISTINCT unnest(ARRAY[
        (state::json ->> 'flow_id')::uuid, (state::json ->> 'deployment_id')::uuid,
        (state::json ->> 'work_queue_id')::uuid]) AS id
    FROM parts JOIN kin USING (tree) JOIN ledger.events ON originator_id = kin.id AND originator_version = 1
), queues AS (
    SELECT id, work_pool_id FROM read.work_queues WHERE id IN (SELECT id FROM named)
        OR id IN (SELECT work_queue_id FROM read.deployments WHERE id IN (SELECT id FROM named))
), wanted AS (
    SELECT id FROM named UNION SELECT work_pool_id FROM queues
    UNION SELECT id FROM read.work_queues WHERE work_pool_id IN (SELECT work_pool_id FROM queues)
)
SELECT position, wanted.id, originator_id, originator_version, topic, convert_to(state, 'UTF8')
FROM wanted JOIN ledger.events ON originator_id = wanted.id ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """How much goes into an archive.

    `sealed_before` are the trees that cannot, for an old formula sealed them. `held_up_by` is the follower of the log
    that is so far behind that it has yet to see what would go otherwise, if there is one.
    """

    flow_runs: int
    task_runs: int
    events: int
    sealed_before: int
    parts: tuple[int, ...]
    held_up_by: str | None = None

    @property
    def runs(self) -> int:
        return self.flow_runs + self.task_runs


def choose(connection: Connection, cutoff: datetime) -> Chosen:
    """Choose the runs of which nothing was recorded since `cutoff`, for the transaction that is under way."""
    until, sealed_before = connection.execute(_BOUNDS, [cutoff]).fetchone() or (0, 0)
    seen, follower = connection.execute(_FURTHEST_BEHIND).fetchone() or (until, None)
    held_up_by = follower if seen < until else None
    until = min(until, seen)
    connection.execute(_LATELY, [until])
    connection.execute("ANALYZE lately")
    connection.execute(_KIN)
    connection.execute(_LEAVE_OUT)
    connection.execute(_DELETED, [until])
    connection.execute("ANALYZE kin")
    connection.execute(_TREES)
    connection.execute(_PARTS, [EVENTS_PER_FILE, sealed_before])
    connection.execute("ANALYZE parts")
    flow_runs, task_runs, kept, events = connection.execute(_COUNTED, [sealed_before]).fetchone() or (0, 0, 0, 0)
    parts = tuple(row[0] for row in connection.execute(_PART_NUMBERS))
    return Chosen(flow_runs, task_runs, events, kept, parts, held_up_by)


def read_part(connection: Connection, part: int) -> Iterator[Entry]:
    """The events of one part of what was chosen, in order of their positions."""
    return _entries(connection, _PART, [part])


def read_context(connection: Connection) -> Iterator[Entry]:
    """The events of the flows, deployments, work pools and queues that what was chosen names."""
    return _entries(connection, _CONTEXT, [])


def _entries(connection: Connection, query: str, values: list[int]) -> Iterator[Entry]:
    with connection.cursor("chosen", binary=True) as cursor:
        cursor.itersize = FETCHED_AT_ONCE
        cursor.execute(query.encode(), values)
        for position, tree, id, version, topic, state in cursor:
            yield Entry(position, UUID(str(tree)), StoredEvent(id, version, topic, state))
