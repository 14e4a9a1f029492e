DROP TABLE feed_epochs;
DROP TABLE feed_head;
DROP TABLE feed;
DROP TABLE pending_events;
DROP TABLE events;
DROP FUNCTION refuse_change();
DROP TYPE event_audience;
