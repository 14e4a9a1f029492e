-- Shorter than the second after which Postgres looks for deadlocks: a writer that has locked these
-- tables in another order waits, and is not cancelled.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE events
    -- Replaced by the index of 71.
    DROP CONSTRAINT events_account_seq,
    -- The statements that write these columns read the rows that they name, and nothing deletes
    -- tickets or accounts. Each check was a look-up and a lock: all events of one agent locked the
    -- row of that agent.
    DROP CONSTRAINT events_ticket_id_fkey,
    DROP CONSTRAINT events_actor_id_fkey;
