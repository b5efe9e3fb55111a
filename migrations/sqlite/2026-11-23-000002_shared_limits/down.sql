-- Nothing: an SQLite file has one instance, whose limits are in its memory.
SELECT 1;
