-- Lists are selected and sorted by `queue_entries`. Meanwhile a node of the previous version sorts all
-- tickets for its lists.
DROP INDEX CONCURRENTLY IF EXISTS tickets_assignee_updated
