-- One row a saved search. `doc` is the document by which the API shows it.
CREATE TABLE read.saved_searches (
    id   uuid PRIMARY KEY,
    name text NOT NULL,
    doc  text NOT NULL
);
-- Lists in order of names.
CREATE UNIQUE INDEX saved_searches_name ON read.saved_searches (name);
