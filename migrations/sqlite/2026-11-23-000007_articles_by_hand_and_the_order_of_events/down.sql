ALTER TABLE articles DROP COLUMN kept_open;
