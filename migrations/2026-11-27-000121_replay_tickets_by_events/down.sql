CREATE INDEX CONCURRENTLY feed_ticket ON feed (ticket_id, pos) WHERE ticket_id IS NOT NULL;
