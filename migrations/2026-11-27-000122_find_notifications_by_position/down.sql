CREATE INDEX CONCURRENTLY notifications_ticket ON notifications (ticket_id, account_id);
