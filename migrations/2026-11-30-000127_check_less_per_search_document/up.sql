-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

-- The statement that adds documents reads their tickets, and nothing deletes tickets.
ALTER TABLE search_documents DROP CONSTRAINT search_documents_ticket_id_fkey;
