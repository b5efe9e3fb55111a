-- As on PostgreSQL, where each connection that writes has a row of its own. An SQLite file has one writer: slot 0.
CREATE TABLE site_counts_in_slots (
    site_id  BLOB    NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
    pending  BIGINT  NOT NULL,
    approved BIGINT  NOT NULL,
    rejected BIGINT  NOT NULL,
    spam     BIGINT  NOT NULL,
    slot     SMALLINT NOT NULL DEFAULT 0,
    PRIMARY KEY (site_id, slot)
) WITHOUT ROWID;
INSERT INTO site_counts_in_slots (site_id, pending, approved, rejected, spam)
    SELECT site_id, pending, approved, rejected, spam FROM site_counts;
DROP TABLE site_counts;
ALTER TABLE site_counts_in_slots RENAME TO site_counts;
UPDATE meta SET value = '2' WHERE key = 'oldest_binary';
