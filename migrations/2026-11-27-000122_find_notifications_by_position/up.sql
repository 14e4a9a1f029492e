-- An account's notifications about a ticket are found by the positions of its events.
DROP INDEX CONCURRENTLY IF EXISTS notifications_ticket;
