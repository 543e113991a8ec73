-- One row a block document. Its data is sealed, as in the ledger; who shows it puts it together with its schema and type.
CREATE TABLE read.block_documents (
    id              uuid        PRIMARY KEY,
    version         integer     NOT NULL,
    block_type_id   uuid        NOT NULL,
    block_schema_id uuid        NOT NULL,
    name            text        NOT NULL,
    is_anonymous    boolean     NOT NULL,
    created         timestamptz NOT NULL,
    updated         timestamptz NOT NULL,
    sealed          text        NOT NULL,
    -- The ids of documents that stand in the place of fields, as a JSON object.
    refers_to       text        NOT NULL
);
-- Reading a document by its type and name, and the documents of one type.
CREATE UNIQUE INDEX block_documents_type_name ON read.block_documents (block_type_id, name);
-- The documents with one schema.
CREATE INDEX block_documents_schema ON read.block_documents (block_schema_id);
-- Lists in order of names, which leave anonymous documents out.
CREATE INDEX block_documents_name ON read.block_documents (name, id) WHERE NOT is_anonymous;
