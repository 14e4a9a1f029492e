-- Fails on a ticket with more than 200 past participants.
ALTER TABLE tickets
    ADD CONSTRAINT tickets_summary CHECK (char_length(summary) <= 255),
    ADD CONSTRAINT tickets_description CHECK (char_length(description) <= 65536),
    ADD CONSTRAINT tickets_participants CHECK (
        cardinality(participant_ids) <= 50
        AND cardinality(past_participant_ids) <= 200
        AND array_position(participant_ids, NULL) IS NULL
        AND array_position(participant_ids, reporter_id) IS NULL);
