SET LOCAL lock_timeout = '2s';
-- The database and the files that store the feed. A dump that is loaded again has others, even in
-- the same cluster. NULL if an earlier version opened the epoch.
ALTER TABLE feed_epochs ADD COLUMN storage text;
-- Random, the same for all events that were placed together. A node recognises by it whether the
-- feed is still the one that it has read. NULL if an earlier version placed the event.
ALTER TABLE feed ADD COLUMN mark bigint;
