SET LOCAL lock_timeout = '2s';

-- Whether the file was uploaded in a request of its own, for a ticket or comment that its uploader
-- still writes. Such a file is kept for longer, and counts towards a limit of its own.
ALTER TABLE attachments ADD COLUMN is_kept boolean NOT NULL DEFAULT false;
