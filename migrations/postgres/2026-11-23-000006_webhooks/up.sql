-- Receivers of events. The address and the secrets are sealed together: the address of a chat is a secret, too.
CREATE TABLE webhooks (
    id              UUID  NOT NULL PRIMARY KEY,
    site_id         UUID  REFERENCES sites (id) ON DELETE CASCADE, -- none: all sites
    format          SMALLINT NOT NULL,
    events          TEXT     NOT NULL,     -- JSON list of names
    include_email   BOOLEAN  NOT NULL,
    private_sealed  BYTEA NOT NULL,     -- JSON: url, secret, former secret
    former_until    BIGINT,                -- until then the former secret signs, too
    enabled         BOOLEAN  NOT NULL,
    disabled_reason TEXT,                  -- why we switched it off
    failures        INTEGER  NOT NULL,     -- attempts since the last one that succeeded
    failing_since   BIGINT,                -- the first of these
    resume_at       BIGINT,                -- nothing is sent to it before
    created_at      BIGINT   NOT NULL
);

-- Events on their way to a webhook, in the order of comment_version. Ids only; the body is made when it is sent. No
-- reference to webhooks: a comment must not fail because a webhook went away in the same moment.
CREATE TABLE webhook_queue (
    id              UUID  NOT NULL PRIMARY KEY,
    webhook_id      UUID  NOT NULL,
    event_id        UUID  NOT NULL,     -- the event log's; stands in webhook-id
    event           SMALLINT NOT NULL,
    event_at        BIGINT   NOT NULL,
    site_id         UUID,
    article_id      UUID,
    comment_id      UUID,              -- none: a ping
    comment_status  SMALLINT,              -- after the event; none: removed
    comment_version BIGINT   NOT NULL,     -- after the event
    by_hand         BOOLEAN  NOT NULL,     -- a ping or a replay: once, out of turn
    due_at          BIGINT   NOT NULL,
    claim           UUID,
    attempts        INTEGER  NOT NULL,
    created_at      BIGINT   NOT NULL
);
CREATE INDEX webhook_queue_due ON webhook_queue (due_at);
CREATE INDEX webhook_queue_order ON webhook_queue (webhook_id, comment_id, comment_version);

-- What became of attempts: the last hundred of each webhook, for thirty days.
CREATE TABLE webhook_deliveries (
    id             UUID  NOT NULL PRIMARY KEY,
    webhook_id     UUID  NOT NULL,
    event_id       UUID  NOT NULL,
    event          SMALLINT NOT NULL,
    event_at       BIGINT   NOT NULL,
    site_id        UUID,
    article_id     UUID,
    comment_id     UUID,
    comment_status SMALLINT,
    attempt        INTEGER  NOT NULL,
    result         SMALLINT NOT NULL,
    status_code    INTEGER,                -- none: no answer
    error          TEXT,                   -- our words, never the receiver's
    duration_ms    BIGINT   NOT NULL,
    at             BIGINT   NOT NULL
);
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_age ON webhook_deliveries (at);
