CREATE INDEX CONCURRENTLY tickets_assignee_updated ON tickets (assignee_id, updated_at, id);
