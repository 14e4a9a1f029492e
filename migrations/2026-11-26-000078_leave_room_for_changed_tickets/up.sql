SET LOCAL lock_timeout = '2s';

-- A ticket's new version fits into the page of the old one, so that one page is written, and its
-- text is not written again to the log of Postgres.
ALTER TABLE tickets SET (fillfactor = 80);
