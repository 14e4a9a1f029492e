-- Adds the entries of the tickets that were written before 112. Works in batches, each a transaction of
-- its own. An entry that is there is newer. If it is interrupted, it can begin again.
DO $$
DECLARE
    batch uuid[];
    last uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    LOOP
        batch := ARRAY(SELECT id FROM tickets WHERE id > last ORDER BY id LIMIT 1000);
        EXIT WHEN batch = '{}';
        INSERT INTO queue_entries (ticket_id, category_id, assignee_id, status, priority, updated_at,
            waiting_since, resolved_at)
        SELECT id, category_id, assignee_id, status, priority, updated_at, waiting_since, resolved_at
        FROM tickets WHERE id = ANY (batch) ORDER BY id
        ON CONFLICT (ticket_id) DO NOTHING;
        last := batch[cardinality(batch)];
        COMMIT;
    END LOOP;
    -- So that the planner knows the entries before autovacuum has seen them. Of an empty table it would
    -- believe that it stays empty.
    IF EXISTS (SELECT FROM queue_entries) THEN
        ANALYZE queue_entries;
    END IF;
END
$$
