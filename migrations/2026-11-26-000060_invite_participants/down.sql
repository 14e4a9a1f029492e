-- Loses the invitations. Who has accepted one stays a participant.
DROP TABLE ticket_invitations;
