-- Shorter than the second after which Postgres looks for deadlocks: a writer that has locked both
-- tables in another order waits, and is not cancelled.
SET LOCAL lock_timeout = '500ms';

-- Attachments that staff erased. Their rows in `attachments` go once their bytes are deleted.
CREATE TABLE redacted_attachments (
    id uuid PRIMARY KEY,
    ticket_id uuid NOT NULL REFERENCES tickets,
    -- The comment that it was attached to, or NULL if it was on the description.
    comment_id uuid REFERENCES comments,
    redacted_at timestamptz NOT NULL
);
