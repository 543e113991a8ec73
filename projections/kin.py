"""What belongs to a run, wherever that is by now: among the runs that are there, deleted, or in an archive.

A task run belongs to its flow run, a subflow run to the task run that stands for it. Of what was deleted, the event
that made it says so; of what is in an archive, the one that stands in the place of its events.
"""

from collections.abc import Iterator
from uuid import UUID

from psycopg import Connection

TASK_RUNS = """
SELECT id FROM read.task_runs WHERE flow_run_id = %(run)s
UNION SELECT originator_id FROM ledger.events AS deleted JOIN ledger.events AS made USING (originator_id)
    WHERE deleted.topic = 'TaskRun.Deleted' AND made.originator_version = 1
        AND (made.state::json ->> 'flow_run_id')::uuid = %(run)s
UNION SELECT originator_id FROM ledger.events
    WHERE topic = 'TaskRun.Archived' AND (state::json ->> 'part_of')::uuid = %(run)s
ORDER BY 1
"""
SUBFLOWS = """
SELECT id FROM read.flow_runs WHERE parent_task_run_id = ANY(%(runs)s)
UNION SELECT originator_id FROM ledger.events AS deleted JOIN ledger.events AS made USING (originator_id)
    WHERE deleted.topic = 'FlowRun.Deleted' AND made.originator_version = 1
        AND (made.state::json ->> 'parent_task_run_id')::uuid = ANY(%(runs)s)
UNION SELECT originator_id FROM ledger.events
    WHERE topic = 'FlowRun.Archived' AND (state::json ->> 'part_of')::uuid = ANY(%(runs)s)
ORDER BY 1
"""
PART_OF = """
SELECT CASE topic
    WHEN 'FlowRun.Created' THEN state::json ->> 'parent_task_run_id'
    WHEN 'TaskRun.Created' THEN state::json ->> 'flow_run_id'
    ELSE state::json ->> 'part_of'
END::uuid
FROM ledger.events
WHERE originator_id = %s AND (originator_version = 1 OR topic IN ('FlowRun.Archived', 'TaskRun.Archived'))
ORDER BY originator_version LIMIT 1
"""


def task_runs_of(connection: Connection, id: UUID) -> list[UUID]:
    """The task runs of a flow run; none of a task run."""
    return [row[0] for row in connection.execute(TASK_RUNS, {"run": id})]


def subflows_of(connection: Connection, id: UUID) -> Iterator[UUID]:
    """The flow runs that a run, or a task run of it, has started as subflows, and those that these have; each once."""
    known, next_ones = {id}, [id]
    while next_ones:
        run = next_ones.pop()
        parents = [run, *task_runs_of(connection, run)]
        for (child,) in connection.execute(SUBFLOWS, {"runs": parents}).fetchall():
            if child not in known:
                known.add(child)
                next_ones.append(child)
                yield child


def parent_of(connection: Connection, id: UUID) -> UUID | None:
    """The flow run that a flow run is a subflow of, or the task run where that is in none."""
    stands_for_it = _part_of(connection, id)
    return None if stands_for_it is None else _part_of(connection, stands_for_it) or stands_for_it


def _part_of(connection: Connection, id: UUID) -> UUID | None:
    row = connection.execute(PART_OF, [id]).fetchone()
    return row[0] if row else None
