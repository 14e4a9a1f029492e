SET LOCAL lock_timeout = '2s';

-- A bucket's new version fits into the page of the old one, so that no index is written.
ALTER TABLE attempts SET (fillfactor = 70);
