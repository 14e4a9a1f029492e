SET LOCAL lock_timeout = '2s';

-- Members of staff who lost access and whose open tickets have yet to go back to the queue.
CREATE TABLE former_staff (
    account_id uuid PRIMARY KEY REFERENCES accounts,
    -- Who took their access, or NULL for the operator.
    actor_id uuid REFERENCES accounts,
    since timestamptz NOT NULL
);

-- Those who lost access before. Finds each assignee by the index on them, without reading all
-- tickets.
INSERT INTO former_staff (account_id, since)
WITH RECURSIVE assignees (id) AS (
    (SELECT assignee_id FROM tickets WHERE assignee_id IS NOT NULL ORDER BY assignee_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.assignee_id FROM tickets t WHERE t.assignee_id > s.id
            ORDER BY t.assignee_id LIMIT 1)
    FROM assignees s WHERE s.id IS NOT NULL
)
SELECT a.id, now()
FROM assignees s JOIN accounts a ON a.id = s.id
WHERE a.role = 'customer' OR a.disabled_at IS NOT NULL;
