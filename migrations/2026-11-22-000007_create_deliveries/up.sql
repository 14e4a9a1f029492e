CREATE TYPE delivery_state AS ENUM
    ('queued', 'sending', 'sent', 'refused', 'given_up', 'unbuildable', 'expired', 'cancelled');

-- A mail to be sent, and what became of it.
CREATE TABLE deliveries (
    -- The Message-ID is made of this: a mail that is sent again is the same mail.
    id uuid PRIMARY KEY,
    -- The order in which they were planned; one recipient's mails of a ticket go out in it.
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    address text NOT NULL CHECK (char_length(address) BETWEEN 3 AND 254),
    -- NULL: an address of the staff's, without an account.
    account_id uuid REFERENCES accounts,
    -- NULL: not about a ticket.
    ticket_id uuid REFERENCES tickets,
    locale locale NOT NULL,
    -- Goes ahead of everything else: codes, reset links, security notices.
    priority boolean NOT NULL DEFAULT false,
    state delivery_state NOT NULL DEFAULT 'queued',
    attempts integer NOT NULL DEFAULT 0,
    -- Queued: not to be sent before this. Sending: the sender's lease ends with this.
    due_at timestamptz NOT NULL,
    -- Events up to here join this mail, as long as nobody has begun to send it.
    joinable_until timestamptz,
    -- Not to be sent after this.
    expires_at timestamptz,
    -- Sealed content of a mail that is not about a ticket; erased when it is finished.
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

-- What a mail tells of; an event reaches an address by mail once.
CREATE TABLE delivery_events (
    event_id bigint NOT NULL REFERENCES events,
    address text NOT NULL,
    delivery_id uuid NOT NULL REFERENCES deliveries,
    kind notification_kind NOT NULL,
    PRIMARY KEY (event_id, address)
);
CREATE INDEX delivery_events_delivery ON delivery_events (delivery_id, event_id);

-- Who has had enough of a ticket's mails.
CREATE TABLE mail_unsubscriptions (
    ticket_id uuid NOT NULL REFERENCES tickets,
    address text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, address)
);
