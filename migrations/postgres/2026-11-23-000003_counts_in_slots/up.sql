-- Every group of new comments changes its site's numbers and holds that row until its commit is on disk: with one row per
-- site, all connections of all instances committed one after the other. Now each has a row of its own; the sum counts.
ALTER TABLE site_counts ADD COLUMN slot SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE site_counts DROP CONSTRAINT site_counts_pkey;
ALTER TABLE site_counts ADD PRIMARY KEY (site_id, slot);
-- A program that knows one row per site would change all of them.
UPDATE meta SET value = '2' WHERE key = 'oldest_binary';
