-- Schema v1. Times are whole microseconds since 1970 (UTC); ids are UUIDv7; enums are the numbers of src/domain.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE sites (
    id         UUID     NOT NULL PRIMARY KEY,
    key        TEXT     NOT NULL UNIQUE,
    name       TEXT     NOT NULL,
    url        TEXT,
    origins    TEXT     NOT NULL,          -- JSON: ["https://…"]
    moderation SMALLINT NOT NULL,
    articles   SMALLINT NOT NULL,
    language   TEXT     NOT NULL,
    settings   TEXT     NOT NULL,          -- JSON: what only this site overrides
    created_at BIGINT   NOT NULL,
    updated_at BIGINT   NOT NULL
);

-- Apart from `sites`, because these numbers change with every comment and settings hardly ever.
CREATE TABLE site_counts (
    site_id  UUID   NOT NULL PRIMARY KEY REFERENCES sites (id) ON DELETE CASCADE,
    pending  BIGINT NOT NULL,
    approved BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    spam     BIGINT NOT NULL
);

CREATE TABLE articles (
    id            UUID    NOT NULL PRIMARY KEY,
    site_id       UUID    NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    key           TEXT    NOT NULL,
    title         TEXT,
    url           TEXT,
    closed        BOOLEAN NOT NULL,
    comment_count BIGINT  NOT NULL,        -- approved comments
    version       BIGINT  NOT NULL,        -- raised by every change that a reader can see
    created_at    BIGINT  NOT NULL,
    UNIQUE (site_id, key)
);

CREATE TABLE authors (
    id         UUID   NOT NULL PRIMARY KEY,
    site_id    UUID   NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    approved   BIGINT NOT NULL,            -- comments of theirs that are approved now
    rejected   BIGINT NOT NULL,
    spam       BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE comments (
    id               UUID     NOT NULL PRIMARY KEY,
    site_id          UUID     NOT NULL REFERENCES sites (id),
    article_id       UUID     NOT NULL REFERENCES articles (id),
    parent_id        UUID     REFERENCES comments (id),
    root_id          UUID     NOT NULL,
    depth            SMALLINT NOT NULL,
    path             BYTEA    NOT NULL,    -- ids from the root to this one: sorts in reading order
    status           SMALLINT NOT NULL,
    visible          BOOLEAN  NOT NULL,    -- stands in the public list, in full or as `removed`
    author_id        UUID     NOT NULL,
    name             TEXT     NOT NULL,
    website          TEXT,
    body             TEXT     NOT NULL,    -- as typed
    body_html        TEXT     NOT NULL,
    renderer         SMALLINT NOT NULL,    -- the version that made body_html
    email_sealed     BYTEA,
    email_hash       BYTEA,                -- keyed; finds a person's comments
    sender_sealed    BYTEA,                -- address and user agent
    article_title    TEXT,                 -- the visitor's hint
    article_url      TEXT,
    waiting_edit     TEXT,                 -- JSON: the text that waits while the approved one stays public
    replaced_text    TEXT,                 -- JSON: the text before the last published edit, for undo
    hold_reasons     TEXT     NOT NULL,    -- JSON: [{code, detail}]
    spam_score       DOUBLE PRECISION,
    notify           BOOLEAN  NOT NULL,
    badge            SMALLINT,
    pinned           BOOLEAN  NOT NULL,
    votes_up         INTEGER  NOT NULL,
    votes_down       INTEGER  NOT NULL,
    score            INTEGER  NOT NULL,    -- votes_up - votes_down; orders `top`
    reply_count      INTEGER  NOT NULL,    -- direct replies that are approved
    visible_children INTEGER  NOT NULL,    -- direct replies that stand in the public list
    version          BIGINT   NOT NULL,
    text_hash        BYTEA    NOT NULL,    -- keyed hash of the normalised name and text; finds a double
    created_at       BIGINT   NOT NULL,
    edited_at        BIGINT
);
-- Reading: only what is in the list, so that a held comment costs these nothing.
CREATE INDEX comments_oldest ON comments (article_id, path) WHERE visible;
CREATE INDEX comments_newest ON comments (article_id, root_id DESC, path) WHERE visible;
CREATE INDEX comments_top ON comments (article_id, score DESC, id) WHERE visible AND parent_id IS NULL;
CREATE INDEX comments_recent ON comments (site_id, id) WHERE visible;
-- The queue: one strand per state (and site, or article), each in the order of time.
CREATE INDEX comments_queue ON comments (status, id);
CREATE INDEX comments_site_queue ON comments (site_id, status, id);
CREATE INDEX comments_article_queue ON comments (article_id, status, id);
CREATE INDEX comments_waiting_edits ON comments (site_id, id) WHERE waiting_edit IS NOT NULL;
CREATE INDEX comments_all_waiting_edits ON comments (id) WHERE waiting_edit IS NOT NULL;
CREATE INDEX comments_article_waiting_edits ON comments (article_id, id) WHERE waiting_edit IS NOT NULL;
-- Finding one.
CREATE INDEX comments_children ON comments (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comments_text ON comments (article_id, text_hash);
CREATE INDEX comments_author ON comments (author_id, id);

-- Words and pairs of ideographs, cut by src/domain/search.rs.
CREATE TABLE comment_words (
    comment_id UUID     NOT NULL PRIMARY KEY REFERENCES comments (id) ON DELETE CASCADE,
    words      TSVECTOR NOT NULL
);
CREATE INDEX comment_words_words ON comment_words USING gin (words);

-- Append-only; no text that a visitor wrote.
CREATE TABLE events (
    id          UUID     NOT NULL PRIMARY KEY,
    site_id     UUID     NOT NULL,
    comment_id  UUID     NOT NULL,
    at          BIGINT   NOT NULL,
    account_id  UUID,                      -- who decided; none for an author, a rule or the policy
    action      SMALLINT NOT NULL,
    from_status SMALLINT,
    to_status   SMALLINT,
    via         SMALLINT NOT NULL,
    reason      TEXT
);
CREATE INDEX events_comment ON events (comment_id, id);
CREATE INDEX events_site ON events (site_id, id);

-- Work to be done after a commit. Holds ids only. A row is due when due_at is past; a claim moves due_at to its end.
CREATE TABLE outbox (
    id          UUID     NOT NULL PRIMARY KEY,
    kind        SMALLINT NOT NULL,
    site_id     UUID     NOT NULL,
    comment_id  UUID,
    account_id  UUID,
    due_at      BIGINT,                    -- none: finished or given up
    claim       UUID,                      -- the worker's claim, while one holds it
    attempts    INTEGER  NOT NULL,
    dedupe_key  TEXT     UNIQUE,
    last_error  TEXT,                      -- the other side's own words, addresses cut out
    created_at  BIGINT   NOT NULL,
    finished_at BIGINT,
    failed_at   BIGINT
);
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_account ON outbox (account_id, created_at) WHERE account_id IS NOT NULL;
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX outbox_failed ON outbox (failed_at) WHERE failed_at IS NOT NULL;

-- The first answer to a keyed request, for 24 hours; the author token in it is derived again, not stored.
CREATE TABLE idempotency_keys (
    site_id      UUID     NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    key_hash     BYTEA    NOT NULL,
    request_hash BYTEA    NOT NULL,
    comment_id   UUID     NOT NULL,
    author_id    UUID     NOT NULL,
    status       SMALLINT NOT NULL,
    answer       TEXT     NOT NULL,
    created_at   BIGINT   NOT NULL,
    PRIMARY KEY (site_id, key_hash)
);
CREATE INDEX idempotency_age ON idempotency_keys (created_at);

CREATE TABLE accounts (
    id            UUID     NOT NULL PRIMARY KEY,
    email_sealed  BYTEA    NOT NULL,
    email_hash    BYTEA    NOT NULL UNIQUE,
    name          TEXT     NOT NULL,
    role          SMALLINT NOT NULL,
    password_hash TEXT,
    wants_mail    BOOLEAN  NOT NULL,
    created_at    BIGINT   NOT NULL,
    disabled_at   BIGINT
);

CREATE TABLE account_sites (
    account_id UUID NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    site_id    UUID NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    PRIMARY KEY (account_id, site_id)
);
CREATE INDEX account_sites_site ON account_sites (site_id);

CREATE TABLE sessions (
    id         UUID   NOT NULL PRIMARY KEY,
    account_id UUID   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    token_hash BYTEA  NOT NULL UNIQUE,     -- SHA-256 of 256 random bits
    user_agent TEXT,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_account ON sessions (account_id);

CREATE TABLE tokens (
    id           UUID   NOT NULL PRIMARY KEY,
    account_id   UUID   NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT   NOT NULL,
    token_hash   BYTEA  NOT NULL UNIQUE,   -- SHA-256 of 256 random bits
    scope        TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at   BIGINT
);
CREATE INDEX tokens_account ON tokens (account_id);

INSERT INTO meta (key, value) VALUES ('oldest_binary', '1'), ('settings_revision', '1');
