-- As in 114.
DROP INDEX CONCURRENTLY IF EXISTS tickets_last_waiting
