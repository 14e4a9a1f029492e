CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL REFERENCES accounts,
    key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    -- SHA-256 of the operation and its input.
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    -- The ticket or comment that the first call created.
    result_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
