ALTER TABLE events
    ADD CONSTRAINT events_kind_check CHECK (kind ~ '^[a-z_]{1,64}$'),
    ADD CONSTRAINT events_one_subject CHECK (num_nonnulls(ticket_id, account_id) = 1);
