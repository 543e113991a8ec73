-- How many runs there are and what their times add up to, by state and by the time they were expected to start: what
-- dashboards ask for all the time. Derived from the rows of flow_runs and task_runs: each transaction adds rows with
-- what it changed, readers sum, and they are added up into buckets of every width in the background.
CREATE TABLE read.run_counts (
    -- flow_run or task_run.
    kind          text        NOT NULL,
    -- Of which runs: all, or those of one flow, of one deployment, with one tag; `key` says which.
    dimension     text        NOT NULL,
    key           uuid        NOT NULL,
    -- The bucket of expected_start_time: its length in seconds and its beginning, -infinity where that is not known.
    -- A width of 0 means what changed in a bucket of a minute and is not added up yet.
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
    waiting_since numeric     NOT NULL
);
-- What is to be added up, and sums over a range of buckets. There is but one index, for every transition adds rows.
CREATE INDEX run_counts_buckets ON read.run_counts (width, kind, dimension, key, bucket);
