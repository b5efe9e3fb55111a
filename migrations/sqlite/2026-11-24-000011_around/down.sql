ALTER TABLE events DROP COLUMN article_id;
DROP TABLE flags;
DROP TABLE reaction_counts;
DROP TABLE reactions;
DROP TABLE votes;
