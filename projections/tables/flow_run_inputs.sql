-- One row for every input that a flow run has, by the version of the event that wrote it.
CREATE TABLE read.flow_run_inputs (
    flow_run_id uuid    NOT NULL,
    version     integer NOT NULL,
    key         text    NOT NULL,
    doc         text    NOT NULL,
    -- The inputs of one run in the order in which they were written.
    PRIMARY KEY (flow_run_id, version)
);
-- What people put into runs is not to be kept in statistics, where erasing would not find it.
ALTER TABLE read.flow_run_inputs ALTER COLUMN doc SET STATISTICS 0;
