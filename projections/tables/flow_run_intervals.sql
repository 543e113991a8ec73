-- One row for each stretch of time in which what can be asked of a flow run's past stayed the same, by the version of the
-- event that began it: from when that was recorded until the next was, or the run's deletion; null while it goes on.
-- Unlike those of other tables, these rows stay when the run is deleted. Stretches that lasted no time have none.
CREATE TABLE read.flow_run_intervals (
    flow_run_id   uuid        NOT NULL,
    version       integer     NOT NULL,
    began         timestamptz NOT NULL,
    ended         timestamptz,
    flow_id       uuid        NOT NULL,
    deployment_id uuid,
    state_type    text,
    state_name    text,
    -- Whether the state is one that runs end in: those stretches nearly all go on for ever.
    terminal      boolean     NOT NULL,
    tag_keys      uuid[]      NOT NULL,
    -- Also the past of certain runs, and the runs in order of their ids.
    PRIMARY KEY (flow_run_id, version)
);
-- The stretches that were going on at a time and have ended since, of runs that had not.
CREATE INDEX flow_run_intervals_over ON read.flow_run_intervals USING gist (tstzrange(began, ended))
    WHERE NOT terminal AND ended IS NOT NULL;
-- Those that go on still.
CREATE INDEX flow_run_intervals_open ON read.flow_run_intervals (began) WHERE NOT terminal AND ended IS NULL;
-- The runs that had ended by a time, by how they ended.
CREATE INDEX flow_run_intervals_terminal ON read.flow_run_intervals (state_type, began) WHERE terminal;
