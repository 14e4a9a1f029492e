CREATE TYPE ticket_status AS ENUM
    ('waiting_for_support', 'working_on_it', 'waiting_for_customer', 'resolved', 'closed');
-- Declared from low to high: the queue sorts by it.
CREATE TYPE ticket_priority AS ENUM ('lowest', 'low', 'medium', 'high', 'highest');
CREATE TYPE comment_visibility AS ENUM ('public', 'internal');

CREATE SEQUENCE ticket_numbers AS bigint;

CREATE TABLE tickets (
    id uuid PRIMARY KEY,
    -- The number that people see after the prefix, as in CS-234567. Gaps are harmless.
    number bigint NOT NULL UNIQUE DEFAULT nextval('ticket_numbers'),
    category_id uuid NOT NULL REFERENCES categories,
    reporter_id uuid NOT NULL REFERENCES accounts,
    assignee_id uuid REFERENCES accounts,
    summary text NOT NULL CHECK (char_length(summary) BETWEEN 1 AND 255),
    description text NOT NULL CHECK (char_length(description) BETWEEN 1 AND 65536),
    status ticket_status NOT NULL,
    priority ticket_priority NOT NULL,
    -- Public: increases when a field that expectedVersion guards changes.
    version integer NOT NULL DEFAULT 1,
    -- The position of the ticket's last event, advanced under the row's lock. Never
    -- exposed: its gaps would reveal internal notes to customers.
    event_seq bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    -- When something last changed that the customer can see.
    updated_at timestamptz NOT NULL
);
ALTER SEQUENCE ticket_numbers OWNED BY tickets.number;

-- For keyset pagination: one index per list and order.
CREATE INDEX tickets_created ON tickets (created_at, id);
CREATE INDEX tickets_updated ON tickets (updated_at, id);
CREATE INDEX tickets_priority ON tickets (priority, id);
CREATE INDEX tickets_reporter_created ON tickets (reporter_id, created_at, id);
CREATE INDEX tickets_reporter_updated ON tickets (reporter_id, updated_at, id);
CREATE INDEX tickets_assignee_updated ON tickets (assignee_id, updated_at, id);
CREATE INDEX tickets_status_updated ON tickets (status, updated_at, id);
CREATE INDEX tickets_category_status_updated ON tickets (category_id, status, updated_at, id);

CREATE TABLE comments (
    id uuid PRIMARY KEY,
    ticket_id uuid NOT NULL REFERENCES tickets,
    author_id uuid NOT NULL REFERENCES accounts,
    visibility comment_visibility NOT NULL,
    body text NOT NULL CHECK (char_length(body) BETWEEN 1 AND 65536),
    created_at timestamptz NOT NULL
);
CREATE INDEX comments_ticket ON comments (ticket_id, created_at, id);
