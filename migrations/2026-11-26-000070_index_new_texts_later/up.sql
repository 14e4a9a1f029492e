-- Shorter than the second after which Postgres looks for deadlocks: a writer that has locked both
-- tables in another order waits, and is not cancelled.
SET LOCAL lock_timeout = '500ms';

-- New texts are added to the search by a consumer of the feed. A connection that leaves them to it
-- says so. Those of the previous version do not: for them a trigger adds the texts at once. What
-- both add is added once. Changed and deleted texts change their row in their own transaction.
CREATE FUNCTION index_new_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    VALUES (NEW.id, NEW.id, 'public', NEW.summary,
        setweight(to_tsvector('desk', indexable(NEW.summary)), 'A')
            || setweight(to_tsvector('desk', indexable(NEW.description)), 'B'))
    ON CONFLICT (id) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE FUNCTION index_new_comment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (id, ticket_id, visibility, words)
    VALUES (NEW.id, NEW.ticket_id, NEW.visibility,
        setweight(to_tsvector('desk', indexable(NEW.body)), 'C'))
    ON CONFLICT (id) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER tickets_searchable_at_once AFTER INSERT ON tickets
    FOR EACH ROW WHEN (current_setting('ticketwire.index_later', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION index_new_ticket();
CREATE TRIGGER comments_searchable_at_once AFTER INSERT ON comments
    FOR EACH ROW WHEN (current_setting('ticketwire.index_later', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION index_new_comment();

CREATE OR REPLACE TRIGGER comments_searchable
    AFTER DELETE OR UPDATE OF visibility, body ON comments
    FOR EACH ROW EXECUTE FUNCTION index_comment();
-- Not called for a ticket whose text is written as it was, with every comment.
CREATE OR REPLACE TRIGGER tickets_searchable AFTER UPDATE OF summary, description ON tickets
    FOR EACH ROW WHEN (OLD.summary IS DISTINCT FROM NEW.summary
        OR OLD.description IS DISTINCT FROM NEW.description)
    EXECUTE FUNCTION index_ticket();

-- What was written before is in the search already.
INSERT INTO consumer_offsets (name, pos) SELECT 'search', pos FROM feed_head;
