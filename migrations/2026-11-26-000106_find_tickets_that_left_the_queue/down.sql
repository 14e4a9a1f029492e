DROP INDEX events_left_open;
