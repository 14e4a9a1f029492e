SET LOCAL lock_timeout = '2s';

-- What staff select and sort tickets by, one narrow row for each ticket. Each comment changes it. Had
-- `tickets` these indexes, each comment would have to write all indexes of `tickets`: Postgres leaves
-- them alone only if no indexed column changes.
CREATE TABLE queue_entries (
    ticket_id uuid PRIMARY KEY,
    category_id uuid NOT NULL,
    assignee_id uuid,
    status ticket_status NOT NULL,
    priority ticket_priority NOT NULL,
    updated_at timestamptz NOT NULL,
    waiting_since timestamptz,
    resolved_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX queue_entries_assignee_updated
    ON queue_entries (assignee_id, updated_at, ticket_id);
CREATE INDEX queue_entries_category_status_updated
    ON queue_entries (category_id, status, updated_at, ticket_id);
CREATE INDEX queue_entries_status_updated ON queue_entries (status, updated_at, ticket_id);
CREATE INDEX queue_entries_waiting
    ON queue_entries (waiting_since, ticket_id) WHERE waiting_since IS NOT NULL;
CREATE INDEX queue_entries_resolved
    ON queue_entries (resolved_at, ticket_id) WHERE status = 'resolved';

-- A connection that writes the entries itself says so. Those of the previous version do not: for them
-- a trigger writes the entries.
CREATE FUNCTION write_queue_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_entries (ticket_id, category_id, assignee_id, status, priority, updated_at,
        waiting_since, resolved_at)
    VALUES (NEW.id, NEW.category_id, NEW.assignee_id, NEW.status, NEW.priority, NEW.updated_at,
        NEW.waiting_since, NEW.resolved_at)
    ON CONFLICT (ticket_id) DO UPDATE SET category_id = EXCLUDED.category_id,
        assignee_id = EXCLUDED.assignee_id, status = EXCLUDED.status,
        priority = EXCLUDED.priority, updated_at = EXCLUDED.updated_at,
        waiting_since = EXCLUDED.waiting_since, resolved_at = EXCLUDED.resolved_at;
    RETURN NULL;
END
$$;
CREATE TRIGGER tickets_queued AFTER INSERT OR UPDATE ON tickets
    FOR EACH ROW WHEN (current_setting('ticketwire.queue_entries', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION write_queue_entry();
