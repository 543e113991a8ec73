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
-- The key that the message is encrypted with, as base64, if it is.
ALTER TABLE telemetry.logs ADD COLUMN IF NOT EXISTS sealed_under uuid;
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

-- What runs put up for people to see: texts, tables, links. Each stands for itself; those of one key are versions.
CREATE TABLE IF NOT EXISTS telemetry.artifacts (
    id          uuid        PRIMARY KEY,
    created     timestamptz NOT NULL,
    updated     timestamptz NOT NULL,
    key         text,
    -- The key, by its hash where it is longer than an index can hold.
    short_key   text,
    type        text,
    description text,
    data        json,
    metadata_   json,
    flow_run_id uuid,
    task_run_id uuid
);
-- The artifacts of one flow run, for lists and graphs; of one task run.
CREATE INDEX IF NOT EXISTS artifacts_flow_run ON telemetry.artifacts (flow_run_id) WHERE flow_run_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS artifacts_task_run ON telemetry.artifacts (task_run_id) WHERE task_run_id IS NOT NULL;
-- The newest artifact of a key, where the one after it is deleted.
CREATE INDEX IF NOT EXISTS artifacts_key ON telemetry.artifacts (short_key, created DESC, id DESC)
    WHERE short_key IS NOT NULL;
-- Lists of all artifacts, newest first.
CREATE INDEX IF NOT EXISTS artifacts_created ON telemetry.artifacts (created, id);

-- Every key that artifacts have, with the newest of them.
CREATE TABLE IF NOT EXISTS telemetry.artifact_keys (
    id        uuid        PRIMARY KEY,
    key       text        NOT NULL,
    short_key text        NOT NULL UNIQUE,
    latest_id uuid        NOT NULL,
    created   timestamptz NOT NULL,
    updated   timestamptz NOT NULL
);
-- Whether an artifact is the newest of its key.
CREATE INDEX IF NOT EXISTS artifact_keys_latest ON telemetry.artifact_keys (latest_id);

-- The newest artifact of each key, under the id of the key.
CREATE OR REPLACE VIEW telemetry.latest_artifacts AS
SELECT artifact_keys.id, artifact_keys.created, artifact_keys.updated, artifact_keys.key, latest_id,
       type, description, data, metadata_, flow_run_id, task_run_id
FROM telemetry.artifact_keys JOIN telemetry.artifacts ON artifacts.id = latest_id;

-- The key by which the data of block documents is encrypted, where the settings name none.
CREATE TABLE IF NOT EXISTS telemetry.encryption_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key      text    NOT NULL
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

-- The followers of the log: up to which position of which ledger each has done what it does, and whether the event behind
-- that is one on which it fails.
CREATE TABLE IF NOT EXISTS telemetry.followers (
    name          text        PRIMARY KEY,
    ledger_id     uuid        NOT NULL,
    position      bigint      NOT NULL,
    last_success  timestamptz NOT NULL,
    last_failure  timestamptz,
    last_error    text,
    attempts      integer     NOT NULL DEFAULT 0,
    failing_since timestamptz,
    retry_at      timestamptz
);

-- The events that a follower failed on again and again, and went past.
CREATE TABLE IF NOT EXISTS telemetry.set_aside (
    follower    text        NOT NULL,
    position    bigint      NOT NULL,
    error       text        NOT NULL,
    times       integer     NOT NULL,
    first_tried timestamptz NOT NULL,
    last_tried  timestamptz NOT NULL,
    PRIMARY KEY (follower, position)
);

-- The notifications that are or were due, one for an event and a policy. What they say is in the ledger, not here.
CREATE TABLE IF NOT EXISTS telemetry.notifications (
    id               uuid        PRIMARY KEY,
    policy_id        uuid        NOT NULL,
    policy_version   integer     NOT NULL,
    position         bigint      NOT NULL,
    flow_run_id      uuid        NOT NULL,
    flow_run_version integer     NOT NULL,
    state_name       text        NOT NULL,
    -- queued, sending, delivered or dead.
    status           text        NOT NULL,
    created          timestamptz NOT NULL,
    next_attempt_at  timestamptz,
    -- How often it was tried, and how often in vain since it was last queued by the log or by hand.
    attempts         integer     NOT NULL DEFAULT 0,
    failures         integer     NOT NULL DEFAULT 0,
    -- Says once more that no event makes two notifications by one policy, and lists those of a policy, newest first.
    UNIQUE (policy_id, position)
);
-- What waits, by policy: none waits behind the many of another.
CREATE INDEX IF NOT EXISTS notifications_queued ON telemetry.notifications (policy_id, next_attempt_at, position)
    WHERE status = 'queued';
-- What was being sent when a process died.
CREATE INDEX IF NOT EXISTS notifications_sending ON telemetry.notifications (id) WHERE status = 'sending';
-- How many were given up.
CREATE INDEX IF NOT EXISTS notifications_dead ON telemetry.notifications (policy_id) WHERE status = 'dead';
-- What is too old to be kept.
CREATE INDEX IF NOT EXISTS notifications_created ON telemetry.notifications (created);

-- Every attempt to deliver a notification, written before it is made. One without an end is under way.
CREATE TABLE IF NOT EXISTS telemetry.notification_attempts (
    notification_id uuid        NOT NULL REFERENCES telemetry.notifications ON DELETE CASCADE,
    number          integer     NOT NULL,
    started         timestamptz NOT NULL,
    finished        timestamptz,
    outcome         text,
    status_code     integer,
    error           text,
    PRIMARY KEY (notification_id, number)
);
-- The attempts that a process did not live to tell the end of.
CREATE INDEX IF NOT EXISTS notification_attempts_open ON telemetry.notification_attempts (notification_id)
    WHERE finished IS NULL;

-- What people put into runs is not to be kept in statistics, where erasing would not find it. Of JSON there are none.
DO $$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT attrelid::regclass AS name, attname FROM pg_attribute
        WHERE attstattarget IS DISTINCT FROM 0 AND (attrelid, attname) IN (
            ('telemetry.logs'::regclass, 'message'),
            ('telemetry.artifacts'::regclass, 'description'),
            ('ledger.answers'::regclass, 'answer')
        )
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', kept.name, kept.attname);
    END LOOP;
END $$;
