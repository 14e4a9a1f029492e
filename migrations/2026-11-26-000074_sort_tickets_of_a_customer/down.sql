CREATE INDEX tickets_reporter_updated ON tickets (reporter_id, updated_at, id);
