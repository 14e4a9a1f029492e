CREATE TYPE second_factor_method AS ENUM ('authenticator', 'email');

-- The configured ones. What is being configured lies apart until its first code was right.
CREATE TABLE second_factors (
    account_id uuid NOT NULL REFERENCES accounts,
    method second_factor_method NOT NULL,
    -- The authenticator's key, sealed.
    secret bytea CHECK (octet_length(secret) <= 256),
    -- The time step of the last code that was accepted (RFC 6238): none before or at it is again.
    last_step bigint,
    configured_at timestamptz NOT NULL,
    last_used_at timestamptz,
    PRIMARY KEY (account_id, method),
    CONSTRAINT second_factors_secret CHECK
        ((method = 'authenticator') = (secret IS NOT NULL AND last_step IS NOT NULL))
);

-- Authenticators that were begun; a new one replaces the last.
CREATE TABLE authenticator_enrolments (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    secret bytea NOT NULL CHECK (octet_length(secret) <= 256),
    expires_at timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
    account_id uuid NOT NULL REFERENCES accounts,
    -- Keyed hashes: the codes are too short for a plain one.
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (account_id, code_hash)
);

-- Sign-ins whose first step is done.
CREATE TABLE sign_in_challenges (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    -- The account's at the first step: see there.
    session_generation integer NOT NULL,
    -- Tries that are left: taken before a code is looked at.
    tries_left integer NOT NULL CHECK (tries_left >= 0),
    expires_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX sign_in_challenges_expires ON sign_in_challenges (expires_at);

-- Codes that were mailed; a new one for the same step voids the last.
CREATE TABLE mailed_codes (
    -- The challenge that it answers, or the session that configures or re-authenticates.
    holder_id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    tries_left integer NOT NULL CHECK (tries_left >= 0),
    sent_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX mailed_codes_expires ON mailed_codes (expires_at);

ALTER TABLE accounts
    -- How often all sessions were ended: a sign-in that began before is not finished after.
    ADD COLUMN session_generation integer NOT NULL DEFAULT 0;

ALTER TABLE sessions
    -- When password and code were last given again.
    ADD COLUMN reauthenticated_at timestamptz;
