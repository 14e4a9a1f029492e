CREATE TYPE event_audience AS ENUM ('participants', 'staff');

-- The history, the audit trail and the source of every live stream and mail.
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id uuid REFERENCES tickets,
    account_id uuid REFERENCES accounts,
    -- The order within the ticket or account, assigned under that row's lock.
    seq bigint NOT NULL,
    kind text NOT NULL CHECK (kind ~ '^[a-z_]{1,64}$'),
    audience event_audience NOT NULL,
    -- NULL for the system.
    actor_id uuid REFERENCES accounts,
    -- Ids and values, never text that people wrote, which must be erasable.
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    CONSTRAINT events_one_subject CHECK (num_nonnulls(ticket_id, account_id) = 1),
    CONSTRAINT events_ticket_seq UNIQUE (ticket_id, seq),
    CONSTRAINT events_account_seq UNIQUE (account_id, seq)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP;
END
$$;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Events that are committed and have no position yet. The sequencer deletes the rows.
CREATE TABLE pending_events (
    event_id bigint PRIMARY KEY
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- The order in which everybody sees the events. Positions are dense and never reused.
CREATE TABLE feed (
    pos bigint PRIMARY KEY,
    event_id bigint NOT NULL UNIQUE REFERENCES events,
    ticket_id uuid
);
CREATE INDEX feed_ticket ON feed (ticket_id, pos) WHERE ticket_id IS NOT NULL;

CREATE TABLE feed_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    pos bigint NOT NULL
) WITH (
    fillfactor = 10,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000
);
INSERT INTO feed_head (pos) VALUES (0);

-- A restore or a lossy failover rewinds the log: positions after start_pos of an
-- older epoch may have meant other events.
CREATE TABLE feed_epochs (
    epoch integer PRIMARY KEY,
    -- The part of cursors that names the epoch. Random, so that two restores to one point differ.
    tag integer NOT NULL UNIQUE,
    start_pos bigint NOT NULL,
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    opened_at timestamptz NOT NULL
);
