-- Finds the tickets that were open at a time in the past, for figures. An event enters it only when a
-- ticket leaves the open statuses.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_left_open ON events (occurred_at, ticket_id)
    WHERE kind = 'status_changed' AND data ->> 'from' NOT IN ('resolved', 'closed')
      AND data ->> 'to' IN ('resolved', 'closed')
