-- One row a work queue. `doc` is the document by which the API shows it, less what moves with the clock or is counted.
CREATE TABLE read.work_queues (
    id                uuid        PRIMARY KEY,
    work_pool_id      uuid        NOT NULL,
    name              text        NOT NULL,
    priority          integer     NOT NULL,
    is_paused         boolean     NOT NULL,
    concurrency_limit integer,
    created           timestamptz NOT NULL,
    updated           timestamptz NOT NULL,
    doc               text        NOT NULL
);
-- Reading a queue by its name, and the queues of one pool. Not unique: a transaction may swap names.
CREATE INDEX work_queues_pool_name ON read.work_queues (work_pool_id, name);
