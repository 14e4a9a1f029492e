-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

-- The author is who is signed in, and nothing deletes accounts. The check locked the author's row.
ALTER TABLE comments DROP CONSTRAINT comments_author_id_fkey;
