CREATE INDEX CONCURRENTLY comments_ticket ON comments (ticket_id, created_at, id);
