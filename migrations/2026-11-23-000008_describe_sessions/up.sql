ALTER TABLE sessions
    -- Accurate to the minute, so that most requests write nothing.
    ADD COLUMN last_used_at timestamptz,
    -- The client that began it, so that the owner recognises it.
    ADD COLUMN address text CHECK (char_length(address) <= 45),
    ADD COLUMN device text CHECK (char_length(device) <= 255),
    -- Confined: it can only configure a second factor.
    ADD COLUMN confined boolean NOT NULL DEFAULT false;
UPDATE sessions SET last_used_at = created_at;
ALTER TABLE sessions ALTER COLUMN last_used_at SET NOT NULL;
