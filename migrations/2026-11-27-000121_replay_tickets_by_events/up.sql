-- A ticket's part of the feed is found by its events. Meanwhile a node of the previous version passes over the
-- feed since the cursor to resume the stream of a ticket.
DROP INDEX CONCURRENTLY IF EXISTS feed_ticket;
