SET LOCAL lock_timeout = '2s';

-- The texts that comments had before their authors edited them.
CREATE TABLE comment_edits (
    comment_id uuid NOT NULL REFERENCES comments,
    -- 1 for the text as it was posted.
    number smallint NOT NULL CHECK (number BETWEEN 1 AND 20),
    body text NOT NULL CHECK (char_length(body) BETWEEN 1 AND 65536),
    -- When the next text replaced it.
    replaced_at timestamptz NOT NULL,
    PRIMARY KEY (comment_id, number)
);
