ALTER TABLE installation DROP COLUMN last_backup_at;
