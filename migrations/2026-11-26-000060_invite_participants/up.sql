-- Shorter than the second after which Postgres looks for deadlocks: a writer that has locked both
-- tables in another order waits, and is not cancelled.
SET LOCAL lock_timeout = '500ms';

-- Invitations to take part in a ticket. They are to an address, whether an account has it or not.
CREATE TABLE ticket_invitations (
    id uuid PRIMARY KEY,
    ticket_id uuid NOT NULL REFERENCES tickets,
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    invited_by uuid NOT NULL REFERENCES accounts,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    -- When it was declined, or NULL if it is open. Accepted and withdrawn ones are deleted.
    declined_at timestamptz,
    UNIQUE (ticket_id, email)
);

-- Delivers the list of an invited person.
CREATE INDEX ticket_invitations_email ON ticket_invitations (email, created_at, id);
CREATE INDEX ticket_invitations_expiry ON ticket_invitations (expires_at);
