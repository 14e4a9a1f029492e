-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

-- As in 109.
ALTER TABLE events
    DROP CONSTRAINT events_one_subject,
    DROP CONSTRAINT events_kind_check;
