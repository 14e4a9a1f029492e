SET LOCAL lock_timeout = '2s';

-- The nodes of the installation. A node writes its row every five seconds and deletes it when it
-- stops. The other nodes delete the row of one that was killed an hour later.
CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    version text NOT NULL CHECK (char_length(version) <= 64),
    host text NOT NULL CHECK (char_length(host) <= 255),
    -- By the clock of the database, as all times here: those of the nodes may differ.
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    -- Hashes of the settings that all nodes must share, the id of the storage, the use of the pool.
    report jsonb NOT NULL CHECK (pg_column_size(report) <= 65536)
);
