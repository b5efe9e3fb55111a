-- How somebody wants mail. `wants_mail` stays: it says whether at all. Programs that do not know the rest send one each.
ALTER TABLE accounts ADD COLUMN digest_minutes SMALLINT;
-- Quiet hours: minutes of the day in a zone of the IANA database; all three or none.
ALTER TABLE accounts ADD COLUMN quiet_from SMALLINT;
ALTER TABLE accounts ADD COLUMN quiet_to SMALLINT;
ALTER TABLE accounts ADD COLUMN time_zone TEXT;
