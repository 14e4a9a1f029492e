CREATE TYPE second_factor_method AS ENUM ('authenticator', 'email');

-- Configured second factors. One that is being set up is stored separately until its first code is
-- confirmed.
CREATE TABLE second_factors (
    account_id uuid NOT NULL REFERENCES accounts,
    method second_factor_method NOT NULL,
    -- The authenticator's key, sealed.
    secret bytea CHECK (octet_length(secret) <= 256),
    -- The time step of the last accepted code (RFC 6238). Codes up to it are refused.
    last_step bigint,
    configured_at timestamptz NOT NULL,
    last_used_at timestamptz,
    PRIMARY KEY (account_id, method),
    CONSTRAINT second_factors_secret CHECK
        ((method = 'authenticator') = (secret IS NOT NULL AND last_step IS NOT NULL))
);

-- Authenticators that are being set up. A new one replaces the last.
CREATE TABLE authenticator_enrolments (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    secret bytea NOT NULL CHECK (octet_length(secret) <= 256),
    expires_at timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
    account_id uuid NOT NULL REFERENCES accounts,
    -- Keyed hashes: the codes are too short for plain ones.
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (account_id, code_hash)
);

-- Sign-ins that wait for a second factor.
CREATE TABLE sign_in_challenges (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- The account's session_generation at the first step.
    session_generation integer NOT NULL,
    -- Attempts that are left. One is used before a code is compared.
    tries_left integer NOT NULL CHECK (tries_left >= 0),
    expires_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX sign_in_challenges_expires ON sign_in_challenges (expires_at);

-- E-mail codes. A new one for the same holder invalidates the last.
CREATE TABLE mailed_codes (
    -- The holder: the challenge or the session that the code was requested for.
    holder_id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    tries_left integer NOT NULL CHECK (tries_left >= 0),
    sent_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mailed_codes_expires ON mailed_codes (expires_at);

ALTER TABLE accounts
    -- How often all sessions were ended. A sign-in that began before cannot finish after.
    ADD COLUMN session_generation integer NOT NULL DEFAULT 0;

ALTER TABLE sessions
    -- The last reauthentication.
    ADD COLUMN reauthenticated_at timestamptz;
