-- The list of all tickets in the order of their last change is merged from the tickets of each
-- status. Meanwhile a node of the previous version sorts all tickets for that list.
DROP INDEX CONCURRENTLY IF EXISTS tickets_updated
