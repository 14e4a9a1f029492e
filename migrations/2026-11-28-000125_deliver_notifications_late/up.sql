SET LOCAL lock_timeout = '2s';

-- The position before which streams deliver a notification of an event that was set aside, or NULL for all
-- others.
ALTER TABLE notifications ADD COLUMN late_pos bigint;
