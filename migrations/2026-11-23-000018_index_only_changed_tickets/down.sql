CREATE OR REPLACE FUNCTION index_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    VALUES (NEW.id, NEW.id, 'public', NEW.summary,
        setweight(to_tsvector('desk', searchable(NEW.summary)), 'A')
            || setweight(to_tsvector('desk', searchable(NEW.description)), 'B'))
    ON CONFLICT (id) DO UPDATE SET summary = excluded.summary, words = excluded.words;
    RETURN NULL;
END
$$;
