ALTER TABLE comments DROP CONSTRAINT comments_body;
-- The old rule requires a text of redacted comments too.
UPDATE comments SET body = '-' WHERE body = '';
ALTER TABLE comments
    ADD CONSTRAINT comments_body_check CHECK (char_length(body) BETWEEN 1 AND 65536),
    DROP COLUMN redacted_at,
    DROP COLUMN edited_at;
