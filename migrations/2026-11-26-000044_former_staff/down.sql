-- Tickets that wait stay assigned.
DROP TABLE former_staff;
