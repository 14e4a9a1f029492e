-- As in 114.
DROP INDEX CONCURRENTLY IF EXISTS tickets_category_status_updated
