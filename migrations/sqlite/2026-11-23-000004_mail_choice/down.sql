ALTER TABLE accounts DROP COLUMN digest_minutes;
ALTER TABLE accounts DROP COLUMN quiet_from;
ALTER TABLE accounts DROP COLUMN quiet_to;
ALTER TABLE accounts DROP COLUMN time_zone;
