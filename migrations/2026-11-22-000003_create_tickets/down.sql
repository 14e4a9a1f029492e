DROP TABLE comments;
DROP TABLE tickets;
DROP TYPE comment_visibility;
DROP TYPE ticket_priority;
DROP TYPE ticket_status;
