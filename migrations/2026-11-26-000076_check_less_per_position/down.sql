ALTER TABLE feed ADD CONSTRAINT feed_event_id_fkey FOREIGN KEY (event_id) REFERENCES events;
