-- One row a flow run: what lists are filtered and ordered by. The document is in flow_run_documents, so that rows stay
-- narrow: looking through many of them is cheap.
CREATE TABLE read.flow_runs (
    id                        uuid             PRIMARY KEY,
    flow_id                   uuid             NOT NULL,
    name                      text             NOT NULL,
    tags                      text[]           NOT NULL,
    -- The tags as keys of one length, each once: tags may be longer than an index can hold.
    tag_keys                  uuid[]           NOT NULL,
    created                   timestamptz      NOT NULL,
    state_id                  uuid,
    state_type                text,
    state_name                text,
    state_timestamp           timestamptz,
    start_time                timestamptz,
    end_time                  timestamptz,
    expected_start_time       timestamptz,
    -- When the run started, or is expected to.
    begin_time                timestamptz,
    next_scheduled_start_time timestamptz,
    -- When a paused run's pause times out.
    pause_timeout             timestamptz,
    total_run_time            double precision NOT NULL,
    parent_task_run_id        uuid,
    deployment_id             uuid,
    idempotency_key           text,
    flow_version              text,
    work_queue_name           text,
    work_queue_id             uuid,
    -- Whether the run waits for its next attempt in its own process, and is nobody else's to start.
    retries_in_process        boolean          NOT NULL
);
-- Lists in order of the time a run started or is expected to, which is what pages and clients ask for most.
CREATE INDEX flow_runs_begin_time ON read.flow_runs (begin_time, id);
-- The same lists of the runs in one state, of one flow, of one deployment; deep pages of them are read from the index.
CREATE INDEX flow_runs_state ON read.flow_runs (state_type, begin_time, id);
-- See above; and the runs of a flow, for filters of flows by their runs.
CREATE INDEX flow_runs_flow ON read.flow_runs (flow_id, begin_time, id);
-- See above.
CREATE INDEX flow_runs_deployment ON read.flow_runs (deployment_id, begin_time, id) WHERE deployment_id IS NOT NULL;
-- Lists in order of the time a run was expected to start, and the edges of histories.
CREATE INDEX flow_runs_expected_start_time ON read.flow_runs (expected_start_time, id);
-- The runs that wait for a time, in its order: what a scheduler looks for.
CREATE INDEX flow_runs_next_scheduled_start_time ON read.flow_runs (next_scheduled_start_time, id)
    WHERE next_scheduled_start_time IS NOT NULL;
-- The runs of a work queue in one state: those that hold its slots, and those that wait in it, in order of their time.
CREATE INDEX flow_runs_work_queue ON read.flow_runs (work_queue_id, state_type, next_scheduled_start_time, id)
    WHERE work_queue_id IS NOT NULL;
-- The runs with a tag. Its pages are always merged at once, or readers would have to look through what is pending.
CREATE INDEX flow_runs_tags ON read.flow_runs USING gin (tag_keys) WITH (fastupdate = off)
    WHERE tag_keys <> '{}';
-- The flow run behind a task run that stands for a subflow.
CREATE INDEX flow_runs_parent_task_run ON read.flow_runs (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
-- The runs that are to be marked late when their time has passed. Those that are marked leave it.
CREATE INDEX flow_runs_not_late ON read.flow_runs (next_scheduled_start_time)
    WHERE state_type = 'SCHEDULED' AND state_name = 'Scheduled';
-- The runs whose pauses are to be ended.
CREATE INDEX flow_runs_pause_timeout ON read.flow_runs (pause_timeout) WHERE pause_timeout IS NOT NULL;
-- The runs that were cancelled lately, for what they left behind.
CREATE INDEX flow_runs_cancelled ON read.flow_runs (end_time) WHERE state_type = 'CANCELLED';
