-- The language in which the desk speaks to somebody, a BCP 47 tag; none: that of their browser.
ALTER TABLE accounts ADD COLUMN language TEXT;
-- The secret of the codes of their telephone, encrypted; and a new one that they have not confirmed with a code.
ALTER TABLE accounts ADD COLUMN totp_sealed BLOB;
ALTER TABLE accounts ADD COLUMN totp_pending BLOB;
-- The step of time (30 seconds) of the last code that was taken: this one and older ones are worth nothing any more.
ALTER TABLE accounts ADD COLUMN totp_step BIGINT;

-- What stands in for a code when the telephone is lost, each once: used up is deleted.
CREATE TABLE recovery_codes (
    account_id BLOB NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    code_hash  BLOB NOT NULL,     -- SHA-256 of the account and 80 random bits
    PRIMARY KEY (account_id, code_hash)
);

-- Links that let somebody set a password, each once: used up is deleted.
CREATE TABLE one_time_links (
    id         BLOB   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    purpose    SMALLINT NOT NULL,
    account_id BLOB   REFERENCES accounts (id) ON DELETE CASCADE, -- none: it makes the first administrator
    token_hash BLOB  NOT NULL UNIQUE, -- SHA-256 of 256 random bits
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX one_time_links_account ON one_time_links (account_id);
