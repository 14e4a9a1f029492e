SET LOCAL lock_timeout = '2s';

-- The id of the storage of attachments, or NULL until a node has used one. Nodes with another storage,
-- such as the empty folder below a disk that is not mounted, neither store nor delete files.
ALTER TABLE installation ADD COLUMN storage_id uuid;
