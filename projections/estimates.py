"""The figures of a run that move with the clock, computed by PostgreSQL when the run is read, in seconds.

`documents.with_estimates` says what they mean and computes the same in Python. All times are the database's.
"""

from psycopg import sql

from domain.states import TERMINAL, StateType
from projections.work_documents import QUEUE_OF_RUN

_SECONDS_IN_RUNNING = sql.SQL(
    "CASE WHEN state_type = {running} THEN date_part('epoch', now() - state_timestamp) ELSE 0 END"
).format(running=sql.Literal(StateType.RUNNING.value))

ESTIMATED_RUN_TIME = sql.SQL("(total_run_time + {running})").format(running=_SECONDS_IN_RUNNING)

ESTIMATED_START_TIME_DELTA = sql.SQL(
    "CASE WHEN start_time IS NULL AND state_type IN ({ended}) THEN 0"
    " ELSE greatest(date_part('epoch', coalesce(start_time, now()) - expected_start_time), 0) END"
).format(ended=sql.SQL(", ").join(sql.Literal(type.value) for type in sorted(TERMINAL)))

TASK_RUN_DOCUMENT = sql.SQL(
    "('{{\"estimated_run_time\":' || {run_time} || ',\"estimated_start_time_delta\":' || {delta}"
    " || ',' || right(doc, -1))"
).format(run_time=ESTIMATED_RUN_TIME, delta=ESTIMATED_START_TIME_DELTA)
"""A task run's document with both figures, from its row joined with its document."""

FLOW_RUN_DOCUMENT = sql.SQL(
    "('{{\"estimated_run_time\":' || {run_time} || ',\"estimated_start_time_delta\":' || {delta}"
    " || ',' || {queue} || ',' || right(doc, -1))"
).format(run_time=ESTIMATED_RUN_TIME, delta=ESTIMATED_START_TIME_DELTA, queue=QUEUE_OF_RUN)
"""A flow run's document with both figures and its queue, from its row joined with its document."""
