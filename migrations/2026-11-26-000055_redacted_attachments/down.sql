DROP TABLE redacted_attachments;
