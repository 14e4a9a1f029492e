CREATE INDEX CONCURRENTLY tickets_category_status_updated ON tickets (category_id, status, updated_at, id);
