ALTER TABLE comments
    ADD CONSTRAINT comments_ticket_id_fkey FOREIGN KEY (ticket_id) REFERENCES tickets,
    ADD CONSTRAINT comments_body CHECK (
        char_length(body) <= 65536 AND (body <> '') = (redacted_at IS NULL));
