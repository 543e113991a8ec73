-- One row a concurrency limit. How many slots are in use moves with the clock and is computed when it is read.
CREATE TABLE read.concurrency_limits (
    id                    uuid             PRIMARY KEY,
    name                  text             NOT NULL,
    slots                 integer          NOT NULL,
    active                boolean          NOT NULL,
    created               timestamptz      NOT NULL,
    updated               timestamptz      NOT NULL,
    slot_decay_per_second double precision NOT NULL,
    level                 double precision NOT NULL,
    level_at              timestamptz,
    denied_slots          bigint           NOT NULL,
    mean_occupancy        double precision NOT NULL
);
-- Reading a limit by its name, and lists in order of names.
CREATE UNIQUE INDEX concurrency_limits_name ON read.concurrency_limits (name);
