ALTER TABLE events
    DROP COLUMN category_id,
    DROP COLUMN status,
    DROP COLUMN priority,
    DROP COLUMN assignee_id;
