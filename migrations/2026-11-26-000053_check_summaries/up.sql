ALTER TABLE tickets VALIDATE CONSTRAINT tickets_summary
