-- As in 114.
DROP INDEX CONCURRENTLY IF EXISTS tickets_status_updated
