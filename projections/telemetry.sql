-- What is kept but is not state: it cannot be derived from events, and no rule looks at it.
CREATE SCHEMA IF NOT EXISTS telemetry;

-- Log lines as clients send them.
CREATE TABLE IF NOT EXISTS telemetry.logs (
    id          uuid        PRIMARY KEY,
    created     timestamptz NOT NULL,
    name        text        NOT NULL,
    level       integer     NOT NULL,
    message     text        NOT NULL,
    timestamp   timestamptz NOT NULL,
    flow_run_id uuid,
    task_run_id uuid
);
-- The lines of one run in order of time: what every client asks for.
CREATE INDEX IF NOT EXISTS logs_flow_run ON telemetry.logs (flow_run_id, timestamp);
CREATE INDEX IF NOT EXISTS logs_task_run ON telemetry.logs (task_run_id, timestamp) WHERE task_run_id IS NOT NULL;
-- The newest lines of all runs.
CREATE INDEX IF NOT EXISTS logs_timestamp ON telemetry.logs (timestamp);

-- How often the refusal that this event recorded was given again to the same caller, with nothing changed in between.
CREATE TABLE IF NOT EXISTS telemetry.repeated_refusals (
    originator_id      uuid        NOT NULL,
    originator_version integer     NOT NULL,
    times              bigint      NOT NULL,
    last_at            timestamptz NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
);

-- The services: which process did the last round of each, and what became of it.
CREATE TABLE IF NOT EXISTS telemetry.services (
    name         text             PRIMARY KEY,
    process      text             NOT NULL,
    last_started timestamptz      NOT NULL,
    last_success timestamptz,
    last_failure timestamptz,
    last_error   text,
    did          text,
    lag_seconds  double precision NOT NULL
);

-- When somebody last asked for the runs of a deployment.
CREATE TABLE IF NOT EXISTS telemetry.deployment_polls (
    deployment_id uuid        PRIMARY KEY,
    last_polled   timestamptz NOT NULL
);
