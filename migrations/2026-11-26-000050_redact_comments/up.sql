SET LOCAL lock_timeout = '2s';

ALTER TABLE comments
    -- When the author last replaced the text, or NULL.
    ADD COLUMN edited_at timestamptz,
    -- When staff erased the text, or NULL.
    ADD COLUMN redacted_at timestamptz;

-- Only a redacted comment is empty. The new rule allows more than the old one, so all rows fulfil it.
ALTER TABLE comments
    DROP CONSTRAINT comments_body_check,
    ADD CONSTRAINT comments_body CHECK (
        char_length(body) <= 65536 AND (body <> '') = (redacted_at IS NULL)) NOT VALID;
