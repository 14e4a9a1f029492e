SET LOCAL lock_timeout = '2s';

-- Replaced by the index of 71.
ALTER TABLE events DROP CONSTRAINT events_account_seq;

-- The statements that write these columns read the rows that they name, and nothing deletes tickets,
-- accounts or events. Each check was a look-up and a lock: all comments of one agent locked the row
-- of that agent.
ALTER TABLE events
    DROP CONSTRAINT events_ticket_id_fkey,
    DROP CONSTRAINT events_actor_id_fkey;
ALTER TABLE comments DROP CONSTRAINT comments_author_id_fkey;
ALTER TABLE feed DROP CONSTRAINT feed_event_id_fkey;
-- An account has one notification at each position, and each event one position.
ALTER TABLE notifications
    DROP CONSTRAINT notifications_account_id_fkey,
    DROP CONSTRAINT notifications_event_id_fkey,
    DROP CONSTRAINT notifications_ticket_id_fkey,
    DROP CONSTRAINT notifications_account_id_event_id_key;

-- A ticket's new version fits into the page of the old one, so that one page is written, and its
-- text is not written again to the log of Postgres.
ALTER TABLE tickets SET (fillfactor = 80);
