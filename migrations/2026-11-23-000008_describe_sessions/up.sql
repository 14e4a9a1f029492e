ALTER TABLE sessions
    -- To the minute: not each request is worth a write.
    ADD COLUMN last_used_at timestamptz,
    -- From where it was begun, so that its owner can tell it from a stranger's.
    ADD COLUMN address text CHECK (char_length(address) <= 45),
    ADD COLUMN device text CHECK (char_length(device) <= 255),
    -- Can do nothing but configure a second factor.
    ADD COLUMN confined boolean NOT NULL DEFAULT false;
UPDATE sessions SET last_used_at = created_at;
ALTER TABLE sessions ALTER COLUMN last_used_at SET NOT NULL;
