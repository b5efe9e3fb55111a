ALTER TABLE accounts DROP COLUMN links_from;
