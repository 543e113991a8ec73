-- One row a work pool. `doc` is the document by which the API shows it, less what moves with the clock or is counted.
CREATE TABLE read.work_pools (
    id                uuid        PRIMARY KEY,
    name              text        NOT NULL,
    type              text        NOT NULL,
    is_paused         boolean     NOT NULL,
    concurrency_limit integer,
    created           timestamptz NOT NULL,
    updated           timestamptz NOT NULL,
    doc               text        NOT NULL
);
-- Reading a pool by its name, which every poll of a worker does, and lists in order of names.
CREATE UNIQUE INDEX work_pools_name ON read.work_pools (name);
