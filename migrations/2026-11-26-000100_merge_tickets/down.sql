-- Loses which tickets were merged. They stay closed.
DROP TABLE merge_invitations;
DROP TABLE ticket_merges;
