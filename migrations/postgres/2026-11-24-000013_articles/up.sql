-- An alias is a row of this table whose key leads to another article. While the comments of one are on their way, both it
-- and the article that takes them in say so, so that nobody else has to look.
ALTER TABLE articles ADD COLUMN alias_of UUID;
ALTER TABLE articles ADD COLUMN alias_since BIGINT;
ALTER TABLE articles ADD COLUMN merging BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE articles ADD COLUMN moved BIGINT NOT NULL DEFAULT 0;
ALTER TABLE articles ADD COLUMN read_only BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX articles_aliases ON articles (site_id, key) WHERE alias_of IS NOT NULL;
CREATE INDEX articles_aliases_of ON articles (alias_of) WHERE alias_of IS NOT NULL;
CREATE INDEX articles_merging ON articles (id) WHERE merging;
-- The few that come first.
CREATE INDEX comments_pinned ON comments (article_id, id) WHERE pinned;
-- Pings and replays go out also while a webhook pauses and thousands of events wait for it.
CREATE INDEX webhook_queue_by_hand ON webhook_queue (webhook_id, due_at, id) WHERE by_hand;
