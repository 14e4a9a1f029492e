CREATE INDEX CONCURRENTLY tickets_resolved ON tickets (resolved_at, id) WHERE status = 'resolved';
