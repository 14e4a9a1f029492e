SET LOCAL lock_timeout = '2s';

-- Events that a consumer of the feed could not process. Its offset has moved past them. They wait
-- here for another attempt. There is no foreign key, because adding one would lock `events`.
CREATE TABLE set_aside_events (
    id uuid PRIMARY KEY,
    consumer text NOT NULL,
    event_id bigint NOT NULL,
    -- The event's position in the feed.
    pos bigint NOT NULL,
    -- Without text that people wrote.
    error text NOT NULL CHECK (char_length(error) <= 1000),
    attempts integer NOT NULL CHECK (attempts > 0),
    set_aside_at timestamptz NOT NULL,
    attempted_at timestamptz NOT NULL,
    -- When another attempt was requested, or NULL if none was since the last one.
    retry_requested_at timestamptz,
    CONSTRAINT set_aside_events_once UNIQUE (consumer, event_id)
);
CREATE INDEX set_aside_events_order ON set_aside_events (pos, id);
CREATE INDEX set_aside_events_requested ON set_aside_events (consumer, pos)
    WHERE retry_requested_at IS NOT NULL;
