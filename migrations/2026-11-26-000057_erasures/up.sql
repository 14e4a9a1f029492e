SET LOCAL lock_timeout = '2s';

-- Accounts that were erased.
CREATE TABLE erasures (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    -- Who erased it, or NULL for the operator.
    actor_id uuid REFERENCES accounts,
    erased_at timestamptz NOT NULL,
    -- Whether what the person wrote and uploaded is redacted.
    redacts boolean NOT NULL,
    -- When all of that was done, or NULL while something may be left.
    finished_at timestamptz
);
CREATE INDEX erasures_unfinished ON erasures (erased_at) WHERE finished_at IS NULL;
