SET LOCAL lock_timeout = '2s';
-- The database and the files that store the feed. A dump that is loaded again has others, even in
-- the same cluster. NULL: opened by an earlier version.
ALTER TABLE feed_epochs ADD COLUMN storage text;
-- Random, the same for all events that were placed together. A node recognises by it whether the
-- feed still is the one that it has read. NULL: placed by an earlier version.
ALTER TABLE feed ADD COLUMN mark bigint;
