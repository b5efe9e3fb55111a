CREATE TEMPORARY TABLE sums ON COMMIT DROP AS
    SELECT site_id, sum(pending) AS pending, sum(approved) AS approved, sum(rejected) AS rejected, sum(spam) AS spam
    FROM site_counts GROUP BY site_id;
DELETE FROM site_counts;
ALTER TABLE site_counts DROP CONSTRAINT site_counts_pkey;
ALTER TABLE site_counts DROP COLUMN slot;
ALTER TABLE site_counts ADD PRIMARY KEY (site_id);
INSERT INTO site_counts (site_id, pending, approved, rejected, spam)
    SELECT site_id, pending, approved, rejected, spam FROM sums;
UPDATE meta SET value = '1' WHERE key = 'oldest_binary';
