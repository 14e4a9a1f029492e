ALTER TABLE installation DROP COLUMN storage_id;
