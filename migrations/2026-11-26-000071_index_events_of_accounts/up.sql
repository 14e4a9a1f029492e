-- Replaces events_account_seq, half of which is the null of each event about a ticket.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS events_account ON events (account_id, seq)
    WHERE account_id IS NOT NULL
