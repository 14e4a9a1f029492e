SET LOCAL lock_timeout = '2s';

-- A check value of each sealing key that this database was used with, so that a wrong key is noticed
-- before anything is sealed with it.
CREATE TABLE sealing_keys (
    -- The id of the key that sealed data begins with: the start of a hash, which reveals nothing.
    id bytea PRIMARY KEY CHECK (octet_length(id) = 4),
    first_used_at timestamptz NOT NULL
);
