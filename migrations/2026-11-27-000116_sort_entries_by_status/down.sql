CREATE INDEX CONCURRENTLY tickets_status_updated ON tickets (status, updated_at, id);
