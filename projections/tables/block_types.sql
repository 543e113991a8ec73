-- One row a block type. `doc` is the document by which the API shows it.
CREATE TABLE read.block_types (
    id   uuid PRIMARY KEY,
    name text NOT NULL,
    slug text NOT NULL,
    doc  text NOT NULL
);
-- Reading a block type by its slug, which every client does at its start.
CREATE UNIQUE INDEX block_types_slug ON read.block_types (slug);
