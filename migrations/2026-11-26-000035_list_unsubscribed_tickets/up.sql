-- For the list of the tickets that a person has unsubscribed from.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mail_unsubscriptions_address
    ON mail_unsubscriptions (address, created_at, ticket_id)
