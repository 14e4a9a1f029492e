ALTER TABLE notifications DROP COLUMN late_pos;
