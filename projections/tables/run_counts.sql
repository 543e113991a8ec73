-- How many runs there are and what their times add up to, by state and by the time they were expected to start: what
-- dashboards ask for all the time. Derived from the rows of flow_runs and task_runs: each transaction adds rows with
-- what it changed, readers sum, and rows of the same key are added up in the background.
CREATE TABLE read.run_counts (
    -- flow_run or task_run.
    kind          text        NOT NULL,
    -- Of which runs: all, or those of one flow, of one deployment, with one tag; `key` says which.
    dimension     text        NOT NULL,
    key           uuid        NOT NULL,
    -- The bucket of expected_start_time: its length in seconds and its beginning, -infinity where that is not known.
    width         integer     NOT NULL,
    bucket        timestamptz NOT NULL,
    state_type    text,
    state_name    text,
    runs          bigint      NOT NULL,
    -- Seconds: total_run_time; when runs in RUNNING entered it; how late runs started.
    run_time      numeric     NOT NULL,
    running_since numeric     NOT NULL,
    late          numeric     NOT NULL,
    -- How many runs are still to start, and since when, in seconds.
    waiting       bigint      NOT NULL,
    waiting_since numeric     NOT NULL,
    -- Not added up with other rows of the same key yet.
    fresh         boolean     NOT NULL
);
-- Sums over a range of buckets.
CREATE INDEX run_counts_buckets ON read.run_counts (kind, dimension, key, width, bucket);
-- What is to be added up.
CREATE INDEX run_counts_fresh ON read.run_counts (kind, dimension, key, width, bucket) WHERE fresh;
