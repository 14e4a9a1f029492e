-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

-- The statement that places events reads them, and nothing deletes events.
ALTER TABLE feed DROP CONSTRAINT feed_event_id_fkey;
