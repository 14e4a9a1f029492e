CREATE INDEX tickets_status_updated ON tickets (status, updated_at, id);
