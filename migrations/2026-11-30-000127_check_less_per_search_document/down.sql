ALTER TABLE search_documents
    ADD CONSTRAINT search_documents_ticket_id_fkey
    FOREIGN KEY (ticket_id) REFERENCES tickets ON DELETE CASCADE;
