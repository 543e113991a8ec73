-- One row a variable. `doc` is the document by which the API shows it; `value_text` is the value where that is a text.
CREATE TABLE read.variables (
    id         uuid        PRIMARY KEY,
    name       text        NOT NULL,
    value_text text,
    tags       text[]      NOT NULL,
    created    timestamptz NOT NULL,
    updated    timestamptz NOT NULL,
    doc        text        NOT NULL
);
-- Reading a variable by its name, and lists in order of names.
CREATE UNIQUE INDEX variables_name ON read.variables (name);
