-- A customer's tickets are few. In the order of their last change they are sorted, so that no
-- comment has to move its ticket in this index.
DROP INDEX CONCURRENTLY IF EXISTS tickets_reporter_updated
