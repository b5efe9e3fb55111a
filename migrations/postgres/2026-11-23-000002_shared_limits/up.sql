-- Rate limits that all instances on this database share. Unlogged, because what a crash loses is a few minutes of counting.
-- Half of each page stays free, so that a row that everybody changes finds its next place beside it.

CREATE UNLOGGED TABLE rate_limits (
    key     BYTEA  NOT NULL PRIMARY KEY,   -- the ring's number, then 15 bytes of a keyed hash of whom it counts
    arrival BIGINT NOT NULL                -- GCRA's theoretical arrival time; once it is past, the row is as good as none
) WITH (fillfactor = 50);
