ALTER TABLE tickets RESET (fillfactor);
ALTER TABLE notifications
    ADD CONSTRAINT notifications_account_id_event_id_key UNIQUE (account_id, event_id),
    ADD CONSTRAINT notifications_ticket_id_fkey FOREIGN KEY (ticket_id) REFERENCES tickets,
    ADD CONSTRAINT notifications_event_id_fkey FOREIGN KEY (event_id) REFERENCES events,
    ADD CONSTRAINT notifications_account_id_fkey FOREIGN KEY (account_id) REFERENCES accounts;
ALTER TABLE feed ADD CONSTRAINT feed_event_id_fkey FOREIGN KEY (event_id) REFERENCES events;
ALTER TABLE comments
    ADD CONSTRAINT comments_author_id_fkey FOREIGN KEY (author_id) REFERENCES accounts;
ALTER TABLE events
    ADD CONSTRAINT events_actor_id_fkey FOREIGN KEY (actor_id) REFERENCES accounts,
    ADD CONSTRAINT events_ticket_id_fkey FOREIGN KEY (ticket_id) REFERENCES tickets,
    ADD CONSTRAINT events_account_seq UNIQUE (account_id, seq);
