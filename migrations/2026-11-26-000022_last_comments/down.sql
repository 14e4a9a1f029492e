SET LOCAL lock_timeout = '2s';

ALTER TABLE tickets
    DROP COLUMN last_comments_seq,
    DROP COLUMN last_public_comment_id,
    DROP COLUMN last_comment_id;
