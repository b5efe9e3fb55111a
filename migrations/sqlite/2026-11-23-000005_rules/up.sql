-- What happens to a comment before a person sees it, in the operator's own words. Rules without a site come first.
CREATE TABLE rules (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    site_id    BLOB    REFERENCES sites (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,           -- among the rules of the same site, from 1
    definition TEXT    NOT NULL,           -- JSON: the rule as the API takes it
    word_count INTEGER NOT NULL,
    version    BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    words      BLOB                        -- a long list, one entry per line, deflated; last, as it may be large
);
CREATE INDEX rules_order ON rules (site_id, position);
