SET LOCAL lock_timeout = '2s';

-- The time of the state that the last whole backup has, or NULL before the first one.
ALTER TABLE installation ADD COLUMN last_backup_at timestamptz;
