-- An account's notifications about a ticket are found by the positions of its events. Meanwhile a node of the
-- previous version reads all notifications of an account that it removes from a ticket.
DROP INDEX CONCURRENTLY IF EXISTS notifications_ticket;
