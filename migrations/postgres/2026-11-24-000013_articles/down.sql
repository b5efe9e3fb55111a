DROP INDEX comments_pinned;
DROP INDEX articles_merging;
DROP INDEX articles_aliases_of;
DROP INDEX articles_aliases;
ALTER TABLE articles DROP COLUMN read_only;
ALTER TABLE articles DROP COLUMN moved;
ALTER TABLE articles DROP COLUMN merging;
ALTER TABLE articles DROP COLUMN alias_since;
ALTER TABLE articles DROP COLUMN alias_of;
