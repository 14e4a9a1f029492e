ALTER TABLE tickets
    -- When it was resolved, or NULL if it is not resolved.
    ADD COLUMN resolved_at timestamptz,
    -- The closed ticket that this one continues.
    ADD COLUMN follow_up_to_id uuid REFERENCES tickets,
    -- The last event that customers see, who did it (NULL: the system), and the last one before that
    -- somebody else did: enough to know for anybody what the last event by others is. Never exposed.
    -- Events from before these columns existed are not unread for anybody.
    ADD COLUMN public_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN public_actor_id uuid,
    ADD COLUMN public_seq_by_others bigint NOT NULL DEFAULT 0,
    -- The same for all events, for staff.
    ADD COLUMN any_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN any_actor_id uuid,
    ADD COLUMN any_seq_by_others bigint NOT NULL DEFAULT 0;

UPDATE tickets t SET resolved_at = coalesce(
    (SELECT e.occurred_at FROM events e
     WHERE e.ticket_id = t.id AND e.kind = 'status_changed' AND e.data ->> 'to' = 'resolved'
     ORDER BY e.seq DESC LIMIT 1),
    t.updated_at)
WHERE status = 'resolved';

CREATE INDEX tickets_resolved ON tickets (resolved_at, id) WHERE status = 'resolved';
CREATE INDEX tickets_follow_ups ON tickets (follow_up_to_id, created_at, id)
    WHERE follow_up_to_id IS NOT NULL;

-- The last event of a ticket that an account has read.
CREATE TABLE ticket_reads (
    account_id uuid NOT NULL REFERENCES accounts,
    ticket_id uuid NOT NULL REFERENCES tickets,
    seq bigint NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (account_id, ticket_id)
);
