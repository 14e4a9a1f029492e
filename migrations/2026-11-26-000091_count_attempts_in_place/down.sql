CREATE INDEX attempts_empty ON attempts (empty_at);
