-- Cursors stay good. Restores into the same cluster are no longer noticed.
ALTER TABLE feed DROP COLUMN mark;
ALTER TABLE feed_epochs DROP COLUMN storage;
