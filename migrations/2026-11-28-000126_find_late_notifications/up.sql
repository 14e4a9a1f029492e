-- The few notifications that were stored late are found by the position before which streams deliver them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS notifications_late ON notifications (late_pos) WHERE late_pos IS NOT NULL;
