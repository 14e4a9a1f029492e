ALTER TABLE tickets
    -- In the ticket's own row, so that its lock also protects who may see it.
    ADD COLUMN participant_ids uuid[] NOT NULL DEFAULT '{}',
    -- Former participants: they have seen the ticket, and its history may name them.
    ADD COLUMN past_participant_ids uuid[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tickets_participants CHECK (
        cardinality(participant_ids) <= 50 AND cardinality(past_participant_ids) <= 200
        AND array_position(participant_ids, NULL) IS NULL
        AND array_position(participant_ids, reporter_id) IS NULL);
CREATE INDEX tickets_participants ON tickets USING gin (participant_ids)
    WHERE participant_ids <> '{}';

-- The participants of the ticket after the event, like its state.
ALTER TABLE events ADD COLUMN participant_ids uuid[] NOT NULL DEFAULT '{}';

ALTER TYPE notification_kind ADD VALUE 'participant_added';
CREATE INDEX notifications_ticket ON notifications (ticket_id, account_id);
