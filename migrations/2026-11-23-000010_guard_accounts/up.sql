-- Rate limits: one row per bucket of the generic cell rate algorithm.
CREATE TABLE attempts (
    -- SHA-256 of what is limited and for whom. No address is stored.
    bucket bytea PRIMARY KEY CHECK (octet_length(bucket) = 32),
    -- When the bucket is empty again.
    empty_at timestamptz NOT NULL
);
CREATE INDEX attempts_empty ON attempts (empty_at);

CREATE TABLE password_resets (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    -- As it was entered. Only the mail reveals whether the account exists.
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX password_resets_expires ON password_resets (expires_at);
