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
-- In which transaction a line was written: what readers of new lines go by. A line is theirs once all transactions
-- before its own have ended, so that none is passed over.
ALTER TABLE telemetry.logs ADD COLUMN IF NOT EXISTS written_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS logs_written_by ON telemetry.logs (written_by);
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

-- Events that clients send of themselves: heartbeats, what users emit, what happens to artifacts, limits and workers.
-- Reports of task runs are not among them: they are in the ledger. Documents are JSON as the client sent it.
CREATE TABLE IF NOT EXISTS telemetry.client_events (
    id          uuid        PRIMARY KEY,
    occurred    timestamptz NOT NULL,
    received    timestamptz NOT NULL,
    event       text        COLLATE "C" NOT NULL,
    resource_id text        COLLATE "C" NOT NULL,
    related_ids text[]      NOT NULL,
    resource    json        NOT NULL,
    related     json        NOT NULL,
    payload     json        NOT NULL,
    follows     uuid,
    -- As in logs.
    written_by  xid8        NOT NULL DEFAULT pg_current_xact_id()
);
-- What readers of new events look for.
CREATE INDEX IF NOT EXISTS client_events_written_by ON telemetry.client_events (written_by);
-- The feed in order of time; what is too old to be kept.
CREATE INDEX IF NOT EXISTS client_events_occurred ON telemetry.client_events (occurred, id);
-- The events of one name.
CREATE INDEX IF NOT EXISTS client_events_event ON telemetry.client_events (event, occurred, id);
-- The events of one thing.
CREATE INDEX IF NOT EXISTS client_events_resource ON telemetry.client_events (resource_id, occurred, id);
-- The events that have to do with a thing.
CREATE INDEX IF NOT EXISTS client_events_related ON telemetry.client_events USING gin (related_ids);

-- Who waits for task runs in the background, as of when they were last seen. One row a connection.
CREATE TABLE IF NOT EXISTS telemetry.task_workers (
    connection uuid        PRIMARY KEY,
    identifier text        NOT NULL,
    task_keys  text[]      NOT NULL,
    seen       timestamptz NOT NULL
);
