-- The ticket's state after the event. Queues filter by it, so that a stream has the same events
-- whenever it is read. NULL for events about accounts.
ALTER TABLE events
    ADD COLUMN category_id uuid,
    ADD COLUMN status ticket_status,
    ADD COLUMN priority ticket_priority,
    ADD COLUMN assignee_id uuid;

-- A field's value after an event is what the last change before it set. Without one it is what the
-- first change after it replaced, and without any change the current value.
ALTER TABLE events DISABLE TRIGGER events_append_only;
UPDATE events e SET
    category_id = coalesce(
        (SELECT (c.data ->> 'to')::uuid FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'category_changed' AND c.seq <= e.seq
         ORDER BY c.seq DESC LIMIT 1),
        (SELECT (c.data ->> 'from')::uuid FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'category_changed' AND c.seq > e.seq
         ORDER BY c.seq LIMIT 1),
        t.category_id),
    status = coalesce(
        (SELECT (c.data ->> 'to')::ticket_status FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'status_changed' AND c.seq <= e.seq
         ORDER BY c.seq DESC LIMIT 1),
        (SELECT (c.data ->> 'from')::ticket_status FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'status_changed' AND c.seq > e.seq
         ORDER BY c.seq LIMIT 1),
        t.status),
    priority = coalesce(
        (SELECT (c.data ->> 'to')::ticket_priority FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'priority_changed' AND c.seq <= e.seq
         ORDER BY c.seq DESC LIMIT 1),
        (SELECT (c.data ->> 'from')::ticket_priority FROM events c
         WHERE c.ticket_id = e.ticket_id AND c.kind = 'priority_changed' AND c.seq > e.seq
         ORDER BY c.seq LIMIT 1),
        t.priority),
    -- NULL, unassigned, is a value too.
    assignee_id = (
        SELECT value FROM (
            (SELECT 1 AS rank, (c.data ->> 'to')::uuid AS value FROM events c
             WHERE c.ticket_id = e.ticket_id AND c.kind = 'assignee_changed' AND c.seq <= e.seq
             ORDER BY c.seq DESC LIMIT 1)
            UNION ALL
            (SELECT 2, (c.data ->> 'from')::uuid FROM events c
             WHERE c.ticket_id = e.ticket_id AND c.kind = 'assignee_changed' AND c.seq > e.seq
             ORDER BY c.seq LIMIT 1)
            UNION ALL
            SELECT 3, t.assignee_id
        ) known ORDER BY rank LIMIT 1)
FROM tickets t
WHERE t.id = e.ticket_id;
ALTER TABLE events ENABLE TRIGGER events_append_only;
