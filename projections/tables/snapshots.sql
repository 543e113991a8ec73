-- The last snapshot of every stream that has no end, so that it need not be folded from its beginning.
CREATE TABLE read.snapshots (
    id      uuid    PRIMARY KEY,
    version integer NOT NULL,
    topic   text    NOT NULL,
    doc     text    NOT NULL
);
