SET LOCAL lock_timeout = '2s';

-- Filters and orders of the queue under a name.
CREATE TABLE saved_views (
    id uuid PRIMARY KEY,
    -- Whose it is, or NULL if all staff share it.
    account_id uuid REFERENCES accounts,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 120),
    -- The conditions, as domain/ticket_conditions.rs names them. A reader leaves out what it does not
    -- know: a newer version may have written it.
    filter jsonb NOT NULL CHECK (jsonb_typeof(filter) = 'object' AND pg_column_size(filter) <= 16384),
    sort text NOT NULL CHECK (sort ~ '^[a-z_]{1,64}$'),
    descending boolean NOT NULL,
    -- The place among the active ones of its list.
    position integer NOT NULL CHECK (position > 0),
    retired_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Delivers the list of a member of staff, and the shared one.
CREATE INDEX saved_views_list ON saved_views (account_id, position, id);
