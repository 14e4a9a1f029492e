ALTER TABLE events
    ADD CONSTRAINT events_actor_id_fkey FOREIGN KEY (actor_id) REFERENCES accounts,
    ADD CONSTRAINT events_ticket_id_fkey FOREIGN KEY (ticket_id) REFERENCES tickets,
    ADD CONSTRAINT events_account_seq UNIQUE (account_id, seq);
