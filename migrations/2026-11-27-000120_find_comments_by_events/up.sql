-- The comments of a ticket are found by its events. Meanwhile a node of the previous version reads all comments
-- to erase an account.
DROP INDEX CONCURRENTLY IF EXISTS comments_ticket;
