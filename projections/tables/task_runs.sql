-- One row a task run: what lists are filtered and ordered by, and what the graph of a flow run is drawn from. The
-- document is in task_run_documents, so that rows stay narrow: looking through many of them is cheap.
CREATE TABLE read.task_runs (
    id                        uuid             PRIMARY KEY,
    flow_run_id               uuid,
    -- That of the flow run, which never changes.
    flow_id                   uuid,
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
    next_scheduled_start_time timestamptz,
    total_run_time            double precision NOT NULL,
    -- The ids of the runs whose results are its inputs, and of the task runs that it was called in.
    upstream                  uuid[]           NOT NULL,
    encapsulating             uuid[]           NOT NULL,
    -- Both as the API shows them, as JSON.
    dependencies              text             NOT NULL
);
-- The task runs of one flow run; and whether it has any in some state, which is read from the index alone.
CREATE INDEX task_runs_flow_run ON read.task_runs (flow_run_id, state_type);
-- The flow runs of one flow that have a task run in some state, which may be few among very many.
CREATE INDEX task_runs_flow ON read.task_runs (flow_id, state_type, flow_run_id);
-- Lists in order of the time a run was expected to start, and the edges of histories.
CREATE INDEX task_runs_expected_start_time ON read.task_runs (expected_start_time, id);
-- The task runs that started in some time: what pages show as activity.
CREATE INDEX task_runs_start_time ON read.task_runs (start_time) WHERE start_time IS NOT NULL;
-- The task runs with a tag. Its pages are always merged at once, or readers would have to look through what is pending.
CREATE INDEX task_runs_tags ON read.task_runs USING gin (tag_keys) WITH (fastupdate = off)
    WHERE tag_keys <> '{}';
