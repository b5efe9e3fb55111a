-- What readers say without writing. `visitor` is a keyed hash of address block, article and month (src/keys.rs): it tells
-- two visitors of an article apart for a while, and nothing else. Rows go after sixty days; what they counted stays.
CREATE TABLE votes (
    comment_id UUID  NOT NULL REFERENCES comments (id) ON DELETE CASCADE,
    visitor    BYTEA    NOT NULL,
    value      SMALLINT NOT NULL,         -- 1 or -1
    at         BIGINT   NOT NULL,
    PRIMARY KEY (comment_id, visitor)
);
CREATE INDEX votes_age ON votes (at);

CREATE TABLE reactions (
    article_id UUID   NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    visitor    BYTEA    NOT NULL,
    reaction   TEXT     NOT NULL,
    at         BIGINT   NOT NULL,
    PRIMARY KEY (article_id, visitor)
);
CREATE INDEX reactions_age ON reactions (at);

CREATE TABLE reaction_counts (
    article_id UUID   NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    reaction   TEXT COLLATE "C" NOT NULL, -- sorts as on SQLite
    count      BIGINT   NOT NULL,
    PRIMARY KEY (article_id, reaction)
);

CREATE TABLE flags (
    comment_id UUID   NOT NULL REFERENCES comments (id) ON DELETE CASCADE,
    visitor    BYTEA    NOT NULL,
    reason     SMALLINT NOT NULL,
    note       TEXT,                      -- for moderators alone
    at         BIGINT   NOT NULL,
    PRIMARY KEY (comment_id, visitor)
);
CREATE INDEX flags_age ON flags (at);

-- Where the comment stood, for streams that tell of one that is gone; none in entries of older programs.
ALTER TABLE events ADD COLUMN article_id UUID;
