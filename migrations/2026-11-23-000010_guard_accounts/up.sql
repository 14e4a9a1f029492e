-- How often a guessable thing was tried: the generic cell rate algorithm, a row a bucket.
CREATE TABLE attempts (
    -- SHA-256 of what is limited and for whom: no address is kept here.
    bucket bytea PRIMARY KEY CHECK (octet_length(bucket) = 32),
    -- When the bucket would be empty again.
    empty_at timestamptz NOT NULL
);
CREATE INDEX attempts_empty ON attempts (empty_at);

CREATE TABLE password_resets (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    -- As it was given: whether there is such an account shows only in the mail.
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX password_resets_expires ON password_resets (expires_at);
