-- One row for every state that a flow run ever had, by the version of the event that set it.
CREATE TABLE read.flow_run_states (
    flow_run_id uuid        NOT NULL,
    version     integer     NOT NULL,
    id          uuid        NOT NULL,
    name        text        COLLATE "C" NOT NULL,
    timestamp   timestamptz NOT NULL,
    doc         text        NOT NULL,
    -- The history of one run in order.
    PRIMARY KEY (flow_run_id, version)
) WITH (toast_tuple_target = 8160);
-- What people put into runs is not to be kept in statistics, where erasing would not find it.
ALTER TABLE read.flow_run_states ALTER COLUMN doc SET STATISTICS 0;
-- Reading one state by its id.
CREATE INDEX flow_run_states_id ON read.flow_run_states (id);
-- The feed of events in order of time.
CREATE INDEX flow_run_states_timestamp ON read.flow_run_states (timestamp, id);
-- The same of events of one name.
CREATE INDEX flow_run_states_name ON read.flow_run_states (name, timestamp, id);
