-- One row a flow. `doc` is the document by which the API shows it.
CREATE TABLE read.flows (
    id      uuid        PRIMARY KEY,
    name    text        NOT NULL,
    tags    text[]      NOT NULL,
    created timestamptz NOT NULL,
    updated timestamptz NOT NULL,
    doc     text        NOT NULL
);
-- Reading a flow by its name, and lists in order of names.
CREATE UNIQUE INDEX flows_name ON read.flows (name);
