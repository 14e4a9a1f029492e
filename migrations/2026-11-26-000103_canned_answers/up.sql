SET LOCAL lock_timeout = '2s';

-- Texts that staff answer with again and again.
CREATE TABLE canned_answers (
    id uuid PRIMARY KEY,
    -- Whose it is, or NULL if all staff share it.
    account_id uuid REFERENCES accounts,
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 120),
    body text NOT NULL CHECK (char_length(body) BETWEEN 1 AND 65536),
    -- NULL if it fits tickets of every category.
    category_id uuid REFERENCES categories,
    -- NULL if it fits customers of every language.
    locale locale,
    -- The place among the active ones of its list.
    position integer NOT NULL CHECK (position > 0),
    retired_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Delivers the list of a member of staff, and the shared one.
CREATE INDEX canned_answers_list ON canned_answers (account_id, position, id);
