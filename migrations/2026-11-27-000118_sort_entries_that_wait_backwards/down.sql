CREATE INDEX CONCURRENTLY tickets_last_waiting ON tickets (coalesce(waiting_since, '-infinity'), id);
