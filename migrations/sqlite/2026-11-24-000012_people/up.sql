-- Who has been asked whether replies may be told by mail, and what they said, on each site.
CREATE TABLE subscribers (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    site_id      BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    email_hash   BLOB NOT NULL,             -- keyed
    email_sealed BLOB NOT NULL,
    consent      SMALLINT NOT NULL,
    asked_at     BIGINT,                   -- the last mail that asked
    changed_at   BIGINT NOT NULL,
    UNIQUE (site_id, email_hash)
);
CREATE INDEX subscribers_person ON subscribers (email_hash);
CREATE INDEX subscribers_asked ON subscribers (asked_at) WHERE asked_at IS NOT NULL;
CREATE INDEX subscribers_idle ON subscribers (changed_at) WHERE consent IN (0, 2);

-- What a subscriber is to be told, and whether they were: at most once of each.
CREATE TABLE notices (
    comment_id    BLOB NOT NULL,
    kind          SMALLINT NOT NULL,
    subscriber_id BLOB NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    mail          BLOB,                     -- the outbox row whose mail tells it
    left_at       BIGINT,                  -- when that mail was made
    told          BOOLEAN NOT NULL,
    PRIMARY KEY (comment_id, kind)
);
CREATE INDEX notices_subscriber ON notices (subscriber_id, left_at);

-- Who asked for a link to what they wrote; the id is that of the outbox row. Kept for a day, whoever asked.
CREATE TABLE person_requests (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    site_id      BLOB NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    email_hash   BLOB NOT NULL,
    email_sealed BLOB NOT NULL,
    created_at   BIGINT NOT NULL,
    mailed_at    BIGINT
);
CREATE INDEX person_requests_person ON person_requests (email_hash);
CREATE INDEX person_requests_age ON person_requests (created_at);
CREATE INDEX person_requests_mailed ON person_requests (mailed_at) WHERE mailed_at IS NOT NULL;

-- Finds all that one person wrote.
CREATE INDEX comments_person ON comments (email_hash, id) WHERE email_hash IS NOT NULL;
