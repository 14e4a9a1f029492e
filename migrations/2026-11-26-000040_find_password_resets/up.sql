SET LOCAL lock_timeout = '2s';

-- Finds the links of an address that a new one replaces. Expired rows are deleted every hour, so the
-- table is small and the index is built at once.
CREATE INDEX password_resets_email ON password_resets (email) WHERE used_at IS NULL;
