-- Passkeys: what a browser or telephone of an account signs in with, in place of password and code. The table is there whether
-- the program was built with them or not.
CREATE TABLE passkeys (
    id            BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    account_id    BLOB   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    credential_id BLOB  NOT NULL UNIQUE, -- as the authenticator names it
    credential    TEXT   NOT NULL,        -- JSON of webauthn-rs: the public key, the counter, what was told about it
    name          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT
);
CREATE INDEX passkeys_account ON passkeys (account_id);
-- When the challenge was made that a passkey of the account answered last: this one and older ones are worth nothing any more.
ALTER TABLE accounts ADD COLUMN passkey_challenge_at BIGINT;
