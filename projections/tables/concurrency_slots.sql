-- One row for every holding of slots of a limit that has not ended.
CREATE TABLE read.concurrency_slots (
    limit_id    uuid        NOT NULL,
    holding     uuid        NOT NULL,
    slots       integer     NOT NULL,
    since       timestamptz NOT NULL,
    expires_at  timestamptz,
    leased      boolean     NOT NULL,
    holder_type text,
    holder_id   uuid,
    actor       text        NOT NULL,
    -- The holders of one limit.
    PRIMARY KEY (limit_id, holding)
);
