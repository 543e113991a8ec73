-- One row for every completed state that was cached, by the version of the event that set it. The state itself is in
-- task_run_states.
CREATE TABLE read.cached_results (
    task_run_id uuid        NOT NULL,
    version     integer     NOT NULL,
    cache_key   text        NOT NULL,
    cached_at   timestamptz NOT NULL,
    PRIMARY KEY (task_run_id, version)
);
-- The newest result under a key, for the rule that serves it.
CREATE INDEX cached_results_key ON read.cached_results (cache_key, cached_at DESC);
