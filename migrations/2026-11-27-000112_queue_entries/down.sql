DROP TRIGGER tickets_queued ON tickets;
DROP FUNCTION write_queue_entry;
DROP TABLE queue_entries;
