ALTER TABLE accounts DROP COLUMN passkey_challenge_at;
DROP TABLE passkeys;
