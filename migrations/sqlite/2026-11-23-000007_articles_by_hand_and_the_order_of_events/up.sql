-- An article that somebody opened by hand does not close by its age.
ALTER TABLE articles ADD COLUMN kept_open BOOLEAN NOT NULL DEFAULT FALSE;
-- The order of events: an SQLite file has one writer at a time, so their ids are in the order of their commits.
