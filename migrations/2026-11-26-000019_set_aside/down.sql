-- Loses which events were set aside.
DROP TABLE set_aside_events;
