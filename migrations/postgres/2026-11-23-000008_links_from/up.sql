-- Links in mails that were made until then are dead: the account was disabled, or its address changed. NULL: none is.
ALTER TABLE accounts ADD COLUMN links_from BIGINT;
