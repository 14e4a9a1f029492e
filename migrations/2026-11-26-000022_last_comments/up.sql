SET LOCAL lock_timeout = '2s';

-- The last comments of a ticket: of all, and of those that customers see. They are known if
-- last_comments_seq equals event_seq. Rows that nobody has written since, and those that a version
-- without these columns has written, are looked up.
ALTER TABLE tickets
    ADD COLUMN last_comment_id uuid,
    ADD COLUMN last_public_comment_id uuid,
    ADD COLUMN last_comments_seq bigint;
