CREATE TYPE account_role AS ENUM ('customer', 'agent', 'admin');
CREATE TYPE locale AS ENUM ('en', 'ru');

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    -- Stored in lower case, so that one address is one account.
    email text NOT NULL UNIQUE
        CHECK (char_length(email) BETWEEN 3 AND 254 AND email = lower(email)),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
    role account_role NOT NULL,
    locale locale NOT NULL,
    -- A PHC string, or NULL if the account cannot sign in with a password.
    password_hash text CHECK (char_length(password_hash) <= 512),
    disabled_at timestamptz,
    -- The position of the account's last event, advanced under the row's lock. Never exposed.
    event_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    -- SHA-256 of the bearer token. The token itself is not stored.
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at timestamptz
);
CREATE INDEX sessions_account ON sessions (account_id);
