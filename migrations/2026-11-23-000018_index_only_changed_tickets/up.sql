-- A ticket's text is indexed again only if it has changed, not with every comment that updates the
-- row: parsing a long description takes longer than everything else that a comment does.
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
