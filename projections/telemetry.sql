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

-- When someone last asked a work queue or a deployment for runs.
CREATE TABLE IF NOT EXISTS telemetry.polls (
    id          uuid        PRIMARY KEY,
    last_polled timestamptz NOT NULL
);

-- The workers that said they were there, and when they last did. Whether one is online follows from that when it is read.
CREATE TABLE IF NOT EXISTS telemetry.workers (
    id                         uuid        NOT NULL,
    work_pool_id               uuid        NOT NULL,
    name                       text        NOT NULL,
    created                    timestamptz NOT NULL,
    last_heartbeat_time        timestamptz NOT NULL,
    heartbeat_interval_seconds integer,
    PRIMARY KEY (work_pool_id, name)
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
