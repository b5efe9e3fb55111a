CREATE TABLE site_counts_in_one (
    site_id  BLOB   NOT NULL PRIMARY KEY REFERENCES sites (id) ON DELETE CASCADE,
    pending  BIGINT NOT NULL,
    approved BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    spam     BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO site_counts_in_one (site_id, pending, approved, rejected, spam)
    SELECT site_id, sum(pending), sum(approved), sum(rejected), sum(spam) FROM site_counts GROUP BY site_id;
DROP TABLE site_counts;
ALTER TABLE site_counts_in_one RENAME TO site_counts;
UPDATE meta SET value = '1' WHERE key = 'oldest_binary';
