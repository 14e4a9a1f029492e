-- The old rules require texts of redacted tickets too.
UPDATE tickets SET summary = '-' WHERE summary = '';
UPDATE tickets SET description = '-' WHERE description = '';
ALTER TABLE tickets
    DROP CONSTRAINT tickets_summary,
    ADD CONSTRAINT tickets_summary_check CHECK (char_length(summary) BETWEEN 1 AND 255),
    DROP CONSTRAINT tickets_description,
    ADD CONSTRAINT tickets_description_check CHECK (char_length(description) BETWEEN 1 AND 65536);
