-- One row for every task run outside of flow runs that waits for a subscriber: scheduled, deferred, and not taken yet.
CREATE TABLE read.background_runs (
    task_run_id    uuid        PRIMARY KEY,
    task_key       text        NOT NULL,
    scheduled_time timestamptz NOT NULL,
    -- Until when it is handed out to somebody who has not acknowledged it yet.
    held_until     timestamptz
);
-- The runs of a task that wait, in order of their time.
CREATE INDEX background_runs_task_key ON read.background_runs (task_key, scheduled_time, task_run_id);
