-- Service tokens, with which machines authenticate.
CREATE TABLE service_tokens (
    id uuid PRIMARY KEY,
    -- A name for its administrators.
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
    -- SHA-256 of the token. The token itself is not stored.
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- Its scopes.
    provision_customers boolean NOT NULL,
    create_handoffs boolean NOT NULL,
    created_at timestamptz NOT NULL,
    -- NULL if it was created at the command line.
    created_by uuid REFERENCES accounts,
    -- Accurate to the minute.
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid REFERENCES accounts,
    CONSTRAINT service_tokens_scoped CHECK (provision_customers OR create_handoffs)
);

ALTER TABLE accounts
    -- The control panel's id of the customer.
    ADD COLUMN external_id text UNIQUE CHECK (char_length(external_id) BETWEEN 1 AND 255),
    -- SHA-256 of the password hash that the control panel sent last. It differs from
    -- what is stored after the first sign-in, and tells whether another one comes.
    ADD COLUMN imported_hash bytea CHECK (octet_length(imported_hash) = 32);

-- Single-use links with which the control panel signs customers in.
CREATE TABLE handoffs (
    id uuid PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    account_id uuid NOT NULL REFERENCES accounts,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    used_at timestamptz
);
CREATE INDEX handoffs_expires ON handoffs (expires_at);
