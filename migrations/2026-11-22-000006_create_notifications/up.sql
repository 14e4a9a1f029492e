-- The position of each consumer of the feed. It is in the same database as the feed, so a
-- restore rewinds both and no epoch is needed.
CREATE TABLE consumer_offsets (
    name text PRIMARY KEY CHECK (name ~ '^[a-z_]{1,64}$'),
    -- Every event up to this position has been processed.
    pos bigint NOT NULL CHECK (pos >= 0)
);
-- Events from before mail existed notify nobody.
INSERT INTO consumer_offsets (name, pos)
SELECT 'notifications', feed_head.pos + (SELECT count(*) FROM pending_events) FROM feed_head;

CREATE TYPE notification_kind AS ENUM (
    'ticket_created', 'ticket_opened', 'support_answered', 'status_changed', 'ticket_closed',
    'customer_answered', 'ticket_assigned'
);

-- One notification: one event, for one account.
CREATE TABLE notifications (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts,
    event_id bigint NOT NULL REFERENCES events,
    ticket_id uuid NOT NULL REFERENCES tickets,
    kind notification_kind NOT NULL,
    -- The event's position in the feed: the order of the list, and the stream's cursor.
    pos bigint NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    UNIQUE (account_id, event_id),
    UNIQUE (account_id, pos)
);
CREATE INDEX notifications_unread ON notifications (account_id) WHERE read_at IS NULL;

-- The kinds of mail that an account receives. Without a row it receives all of them.
CREATE TABLE mail_preferences (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    ticket_created boolean NOT NULL,
    support_answered boolean NOT NULL,
    status_changed boolean NOT NULL,
    ticket_closed boolean NOT NULL
);
