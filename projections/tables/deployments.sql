-- One row a deployment. `doc` is the document by which the API shows it.
CREATE TABLE read.deployments (
    id                uuid        PRIMARY KEY,
    flow_id           uuid        NOT NULL,
    name              text        NOT NULL,
    tags              text[]      NOT NULL,
    created           timestamptz NOT NULL,
    updated           timestamptz NOT NULL,
    paused            boolean     NOT NULL,
    work_queue_name   text,
    work_queue_id     uuid,
    concurrency_limit integer,
    -- How many events the row is made of: by that a planner tells whether what it calculated is still true.
    version           integer     NOT NULL,
    -- Whether runs are to be planned: it has an active schedule and is not paused.
    scheduled         boolean     NOT NULL,
    doc               text        NOT NULL
);
-- The deployments whose runs go to a queue.
CREATE INDEX deployments_work_queue ON read.deployments (work_queue_id) WHERE work_queue_id IS NOT NULL;
-- The deployments of one flow, and reading one by its name.
CREATE UNIQUE INDEX deployments_flow_name ON read.deployments (flow_id, name);
-- The deployments to plan runs for, in the order in which a planner goes through them.
CREATE INDEX deployments_scheduled ON read.deployments (id) WHERE scheduled;
