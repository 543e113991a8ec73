-- The truth: events, natural keys, seals. Nothing here can be derived from anything else; only `database/clear` empties it.
CREATE SCHEMA IF NOT EXISTS ledger;

-- Which ledger this is. A process that finds another id here than before forgets all it had in memory.
CREATE TABLE IF NOT EXISTS ledger.identity (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       uuid    NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO ledger.identity DEFAULT VALUES ON CONFLICT DO NOTHING;
-- Which key store has the keys that payload is sealed with, if any is: no other may be taken for it.
ALTER TABLE ledger.identity ADD COLUMN IF NOT EXISTS key_store uuid;

-- Positions are given under the ledger lock as last + 1, so they have no gaps. `state` is the event's JSON as it was written.
CREATE TABLE IF NOT EXISTS ledger.events (
    position           bigint  PRIMARY KEY,
    originator_id      uuid    NOT NULL,
    originator_version integer NOT NULL,
    topic              text    NOT NULL,
    state              text    NOT NULL,
    -- Loads one stream in order, and is the last line of defence against two writers of one version.
    UNIQUE (originator_id, originator_version)
) WITH (toast_tuple_target = 8160);

-- One seal a transaction: SHA-256 over the seal before it and the events it covers. A later change of any of them shows.
CREATE TABLE IF NOT EXISTS ledger.seals (
    last_position  bigint      PRIMARY KEY,
    first_position bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    hash           bytea       NOT NULL,
    -- 1: over the events themselves; 2: over a leaf of each, which outlives the event when that is archived.
    formula        smallint    NOT NULL DEFAULT 1
);
-- Ledgers of before do not have it. Adding it anyway would wait for everybody who reads seals.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'ledger.seals'::regclass AND attname = 'formula'
    ) THEN
        ALTER TABLE ledger.seals ADD COLUMN formula smallint NOT NULL DEFAULT 1;
    END IF;
END $$;

-- What is left of events that are in an archive, in their places in the log: all that their seals need to be checked.
CREATE TABLE IF NOT EXISTS ledger.archived (
    position           bigint  PRIMARY KEY,
    originator_id      uuid    NOT NULL,
    originator_version integer NOT NULL,
    leaf               bytea   NOT NULL,
    archive_id         uuid    NOT NULL
);

-- The archives of this ledger, and the one it was filled from. `path` is where the files were when they were written,
-- `hash` that of the manifest, `done` how many events of it were brought here so far where it fills an empty ledger.
CREATE TABLE IF NOT EXISTS ledger.archives (
    id      uuid        PRIMARY KEY,
    created timestamptz NOT NULL,
    path    text        NOT NULL,
    hash    bytea,
    status  text        NOT NULL
        CHECK (status IN ('writing', 'removing', 'archived', 'restoring', 'restored', 'filling', 'filled')),
    runs    bigint      NOT NULL DEFAULT 0,
    events  bigint      NOT NULL DEFAULT 0,
    done    bigint      NOT NULL DEFAULT 0
);

-- Names that stand for one live aggregate. The C collation makes the keys of one kind that begin alike lie together.
CREATE TABLE IF NOT EXISTS ledger.keys (
    kind text COLLATE "C" NOT NULL,
    key  text COLLATE "C" NOT NULL,
    id   uuid NOT NULL,
    PRIMARY KEY (kind, key)
);

-- The answers to requests that carried an idempotency key, so that the same request has the same answer when it comes again.
CREATE TABLE IF NOT EXISTS ledger.answers (
    key         text COLLATE "C" PRIMARY KEY,
    -- SHA-256 over what was asked: the key of another request is not taken for a repetition.
    request     bytea       NOT NULL,
    answer      text        NOT NULL,
    recorded_at timestamptz NOT NULL
);
-- Finds the oldest, which go after some days.
CREATE INDEX IF NOT EXISTS answers_recorded_at ON ledger.answers (recorded_at);
-- The events of notification policies, which whoever follows the log looks for among all others.
CREATE INDEX IF NOT EXISTS events_of_policies ON ledger.events (position)
    WHERE starts_with(topic, 'NotificationPolicy.');
-- What went, which is looked through for what belonged to a run that is to be erased.
CREATE INDEX IF NOT EXISTS events_of_what_went ON ledger.events (topic, originator_id)
    WHERE topic IN ('FlowRun.Deleted', 'TaskRun.Deleted', 'FlowRun.Archived', 'TaskRun.Archived');
