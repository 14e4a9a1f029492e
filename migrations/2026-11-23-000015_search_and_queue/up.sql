-- Finds words despite typos. A trusted extension: installing it requires CREATE on the database.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- When the ticket began to wait for support, or NULL if it does not wait.
ALTER TABLE tickets ADD COLUMN waiting_since timestamptz;
UPDATE tickets t SET waiting_since = coalesce(
    (SELECT e.occurred_at FROM events e
     WHERE e.ticket_id = t.id AND e.kind = 'status_changed' AND e.data ->> 'to' = 'waiting_for_support'
     ORDER BY e.seq DESC LIMIT 1),
    t.created_at)
WHERE status = 'waiting_for_support';
-- Waiting tickets come first in both directions, so each direction has its value for the others.
CREATE INDEX tickets_longest_waiting ON tickets (coalesce(waiting_since, 'infinity'), id);
CREATE INDEX tickets_last_waiting ON tickets (coalesce(waiting_since, '-infinity'), id);

-- English stems for words in Latin letters, Russian stems for others. Host names, addresses and
-- numbers are kept unchanged.
CREATE TEXT SEARCH CONFIGURATION desk (COPY = pg_catalog.russian);

-- Prepares a text for searching. Postgres' parser takes minutes for 64 KiB of "a_a_a_…" or
-- "<!-- <!-- …", so runs longer than any word or address are cut, and markup is not recognised.
CREATE FUNCTION searchable(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN regexp_replace(replace($1, '<', '< '), '(\S{128})', '\1 ', 'g');

-- The search index: one row per ticket and comment. It is separate from tickets, whose rows change
-- often. A row has the same readers as its text.
CREATE TABLE search_documents (
    -- The id of the ticket or comment.
    id uuid PRIMARY KEY,
    ticket_id uuid NOT NULL REFERENCES tickets ON DELETE CASCADE,
    visibility comment_visibility NOT NULL,
    -- Only in the row of a ticket.
    summary text,
    words tsvector NOT NULL
);
CREATE INDEX search_documents_words ON search_documents USING gin (words);
CREATE INDEX search_documents_summary ON search_documents USING gin (summary gin_trgm_ops)
    WHERE summary IS NOT NULL;
CREATE INDEX search_documents_ticket ON search_documents (ticket_id);

CREATE FUNCTION index_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    VALUES (NEW.id, NEW.id, 'public', NEW.summary,
        setweight(to_tsvector('desk', searchable(NEW.summary)), 'A')
            || setweight(to_tsvector('desk', searchable(NEW.description)), 'B'))
    ON CONFLICT (id) DO UPDATE SET summary = excluded.summary, words = excluded.words;
    RETURN NULL;
END
$$;
CREATE TRIGGER tickets_searchable AFTER INSERT OR UPDATE OF summary, description ON tickets
    FOR EACH ROW EXECUTE FUNCTION index_ticket();

CREATE FUNCTION index_comment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM search_documents WHERE id = OLD.id;
        RETURN NULL;
    END IF;
    INSERT INTO search_documents (id, ticket_id, visibility, words)
    VALUES (NEW.id, NEW.ticket_id, NEW.visibility,
        setweight(to_tsvector('desk', searchable(NEW.body)), 'C'))
    ON CONFLICT (id) DO UPDATE SET visibility = excluded.visibility, words = excluded.words;
    RETURN NULL;
END
$$;
CREATE TRIGGER comments_searchable AFTER INSERT OR DELETE OR UPDATE OF visibility, body ON comments
    FOR EACH ROW EXECUTE FUNCTION index_comment();

INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
SELECT id, id, 'public', summary,
    setweight(to_tsvector('desk', searchable(summary)), 'A')
        || setweight(to_tsvector('desk', searchable(description)), 'B')
FROM tickets;
INSERT INTO search_documents (id, ticket_id, visibility, words)
SELECT id, ticket_id, visibility, setweight(to_tsvector('desk', searchable(body)), 'C') FROM comments;

-- Finds people by prefixes of names and addresses, and despite typos.
CREATE INDEX accounts_people ON accounts USING gin (name gin_trgm_ops, email gin_trgm_ops);
