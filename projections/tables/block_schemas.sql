-- One row a block schema. `doc` is the document by which the API shows it, less its type, which is joined.
CREATE TABLE read.block_schemas (
    id            uuid        PRIMARY KEY,
    block_type_id uuid        NOT NULL,
    checksum      text        NOT NULL,
    version       text        NOT NULL,
    capabilities  text[]      NOT NULL,
    created       timestamptz NOT NULL,
    doc           text        NOT NULL
);
-- Reading the newest schema of a checksum, which every client does at its start.
CREATE INDEX block_schemas_checksum ON read.block_schemas (checksum, created DESC);
-- The schemas of one type.
CREATE INDEX block_schemas_type ON read.block_schemas (block_type_id);
