-- Shorter than the second after which Postgres looks for deadlocks: a writer that has locked both
-- tables in another order waits, and is not cancelled.
SET LOCAL lock_timeout = '500ms';

-- The tickets that were merged into others, and what they were like before.
CREATE TABLE ticket_merges (
    ticket_id uuid PRIMARY KEY REFERENCES tickets,
    into_id uuid NOT NULL REFERENCES tickets CHECK (into_id <> ticket_id),
    merged_at timestamptz NOT NULL,
    status ticket_status NOT NULL,
    waiting_since timestamptz,
    resolved_at timestamptz
);

-- Delivers the tickets that were merged into one.
CREATE INDEX ticket_merges_into ON ticket_merges (into_id, merged_at, ticket_id);

-- The invitations that merges have created, with each merge that needs them.
CREATE TABLE merge_invitations (
    invitation_id uuid NOT NULL REFERENCES ticket_invitations ON DELETE CASCADE,
    -- The ticket that was merged.
    ticket_id uuid NOT NULL REFERENCES tickets,
    -- Whether a person has invited the address too.
    is_requested boolean NOT NULL DEFAULT false,
    PRIMARY KEY (invitation_id, ticket_id)
);

CREATE INDEX merge_invitations_ticket ON merge_invitations (ticket_id);
