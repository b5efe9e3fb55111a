ALTER TABLE articles DROP COLUMN kept_open;
DROP INDEX events_tx;
ALTER TABLE events DROP COLUMN tx;
