SET LOCAL lock_timeout = '2s';

-- Prepares a text for indexing: what looks equal becomes equal. Ligatures and other compatibility
-- characters become letters, letters and their accents are composed (NFKC), and characters that are
-- not displayed are left out. `domain/search.rs` does the same to what people search for.
CREATE FUNCTION indexable(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT searchable(normalize(regexp_replace($1,
        '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]',
        '', 'g'), NFKC))
$$;

CREATE OR REPLACE FUNCTION index_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.summary = NEW.summary AND OLD.description = NEW.description THEN
        RETURN NULL;
    END IF;
    INSERT INTO search_documents (id, ticket_id, visibility, summary, words)
    VALUES (NEW.id, NEW.id, 'public', NEW.summary,
        setweight(to_tsvector('desk', indexable(NEW.summary)), 'A')
            || setweight(to_tsvector('desk', indexable(NEW.description)), 'B'))
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
        setweight(to_tsvector('desk', indexable(NEW.body)), 'C'))
    ON CONFLICT (id) DO UPDATE SET visibility = excluded.visibility, words = excluded.words;
    RETURN NULL;
END
$$;
