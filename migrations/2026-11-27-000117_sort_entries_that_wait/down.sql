CREATE INDEX CONCURRENTLY tickets_longest_waiting ON tickets (coalesce(waiting_since, 'infinity'), id);
