SET LOCAL lock_timeout = '2s';

CREATE OR REPLACE FUNCTION index_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.summary = NEW.summary AND OLD.description = NEW.description THEN
        RETURN NULL;
    END IF;
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    VALUES (NEW.id, NEW.id, 'public', NEW.summary,
        setweight(to_tsvector('desk', searchable(NEW.summary)), 'A')
            || setweight(to_tsvector('desk', searchable(NEW.description)), 'B'))
    ON CONFLICT (id) DO UPDATE SET summary = excluded.summary, words = excluded.words;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION index_comment() RETURNS trigger LANGUAGE plpgsql AS $$
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

DROP FUNCTION indexable(text);
