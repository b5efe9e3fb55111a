-- An article that somebody opened by hand does not close by its age.
ALTER TABLE articles ADD COLUMN kept_open BOOLEAN NOT NULL DEFAULT FALSE;
-- Transactions end in another order than that of the ids in them, and instances have clocks of their own: whoever follows
-- the log asks by the number of the transaction. The rows that are there have none; nobody follows the past. A default
-- that is set afterwards rewrites no row.
ALTER TABLE events ADD COLUMN tx BIGINT;
ALTER TABLE events ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint);
CREATE INDEX events_tx ON events (tx) WHERE tx IS NOT NULL;
