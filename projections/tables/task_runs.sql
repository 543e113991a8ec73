-- One row a task run. `doc` is the document by which the API shows it, less what moves with the clock.
CREATE TABLE read.task_runs (
    id                        uuid             PRIMARY KEY,
    flow_run_id               uuid,
    name                      text             NOT NULL,
    tags                      text[]           NOT NULL,
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
    doc                       text             NOT NULL
) WITH (fillfactor = 60, toast_tuple_target = 8160);
-- The task runs of one flow run.
CREATE INDEX task_runs_flow_run ON read.task_runs (flow_run_id);
