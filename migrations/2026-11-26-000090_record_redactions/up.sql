SET LOCAL lock_timeout = '2s';

-- Redactions of single texts and files, which the ledger of erasures has too: what a restored backup
-- brings back is redacted again. Redactions that belong to the erasure of an account are not here.
CREATE TABLE redactions (
    -- What was redacted, as the ledger names it.
    name text PRIMARY KEY CHECK (char_length(name) BETWEEN 1 AND 60),
    ticket_id uuid NOT NULL,
    content jsonb NOT NULL,
    redacted_at timestamptz NOT NULL
);
