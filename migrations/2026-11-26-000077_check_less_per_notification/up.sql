-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE notifications
    -- The planner reads all three, and nothing deletes them.
    DROP CONSTRAINT notifications_account_id_fkey,
    DROP CONSTRAINT notifications_event_id_fkey,
    DROP CONSTRAINT notifications_ticket_id_fkey,
    -- An account has one notification at each position, and each event one position.
    DROP CONSTRAINT notifications_account_id_event_id_key;
