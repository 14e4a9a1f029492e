DROP INDEX accounts_people;
DROP TRIGGER comments_searchable ON comments;
DROP TRIGGER tickets_searchable ON tickets;
DROP FUNCTION index_comment;
DROP FUNCTION index_ticket;
DROP TABLE search_documents;
DROP FUNCTION searchable;
DROP TEXT SEARCH CONFIGURATION desk;
ALTER TABLE tickets DROP COLUMN waiting_since;
-- The extension pg_trgm stays: later migrations use it too.
