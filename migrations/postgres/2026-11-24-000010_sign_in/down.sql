DROP TABLE one_time_links;
DROP TABLE recovery_codes;
ALTER TABLE accounts DROP COLUMN totp_step;
ALTER TABLE accounts DROP COLUMN totp_pending;
ALTER TABLE accounts DROP COLUMN totp_sealed;
ALTER TABLE accounts DROP COLUMN language;
