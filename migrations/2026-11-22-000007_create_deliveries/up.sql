CREATE TYPE delivery_state AS ENUM
    ('queued', 'sending', 'sent', 'refused', 'given_up', 'unbuildable', 'expired', 'cancelled');

-- A mail to be sent, and its state.
CREATE TABLE deliveries (
    -- The Message-ID contains this, so a mail that is sent again is recognised as the same mail.
    id uuid PRIMARY KEY,
    -- The order of planning, in which one recipient's mails about a ticket are sent.
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    address text NOT NULL CHECK (char_length(address) BETWEEN 3 AND 254),
    -- NULL for a staff address, which has no account.
    account_id uuid REFERENCES accounts,
    -- NULL for priority mail, which is not about a ticket.
    ticket_id uuid REFERENCES tickets,
    locale locale NOT NULL,
    -- Priority mail: codes, links and security notices, sent before all other mail.
    priority boolean NOT NULL DEFAULT false,
    state delivery_state NOT NULL DEFAULT 'queued',
    attempts integer NOT NULL DEFAULT 0,
    -- Queued: the earliest time to send. Sending: the end of the sender's lease.
    due_at timestamptz NOT NULL,
    -- Events up to here join this mail until a sender has claimed it.
    joinable_until timestamptz,
    -- The latest time to send.
    expires_at timestamptz,
    -- The sealed content of priority mail, erased once the mail is finished.
    payload bytea,
    last_error text CHECK (char_length(last_error) <= 1000),
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT deliveries_finished
        CHECK ((state IN ('queued', 'sending')) = (finished_at IS NULL)),
    CONSTRAINT deliveries_payload_erased CHECK (finished_at IS NULL OR payload IS NULL)
);
CREATE INDEX deliveries_due ON deliveries (priority DESC, due_at, seq)
    WHERE state IN ('queued', 'sending');
CREATE INDEX deliveries_ticket ON deliveries (ticket_id, address, seq);

-- The events of a mail. An event reaches an address by mail once.
CREATE TABLE delivery_events (
    event_id bigint NOT NULL REFERENCES events,
    address text NOT NULL,
    delivery_id uuid NOT NULL REFERENCES deliveries,
    kind notification_kind NOT NULL,
    PRIMARY KEY (event_id, address)
);
CREATE INDEX delivery_events_delivery ON delivery_events (delivery_id, event_id);

-- Addresses that receive no more mail about a ticket.
CREATE TABLE mail_unsubscriptions (
    ticket_id uuid NOT NULL REFERENCES tickets,
    address text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, address)
);
