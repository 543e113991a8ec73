-- One row a flow run. `doc` is the document by which the API shows it, less what moves with the clock.
-- Rows are small enough for a page to hold several, and updates of unindexed columns stay on their page (fillfactor).
CREATE TABLE read.flow_runs (
    id                        uuid             PRIMARY KEY,
    flow_id                   uuid             NOT NULL,
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
    parent_task_run_id        uuid,
    deployment_id             uuid,
    idempotency_key           text,
    flow_version              text,
    doc                       text             NOT NULL
) WITH (fillfactor = 60, toast_tuple_target = 8160);
-- The runs of one flow.
CREATE INDEX flow_runs_flow ON read.flow_runs (flow_id);
-- The runs of one deployment.
CREATE INDEX flow_runs_deployment ON read.flow_runs (deployment_id) WHERE deployment_id IS NOT NULL;
-- Lists in order of the time a run was expected to start.
CREATE INDEX flow_runs_expected_start_time ON read.flow_runs (expected_start_time);
-- The flow run behind a task run that stands for a subflow.
CREATE INDEX flow_runs_parent_task_run ON read.flow_runs (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
