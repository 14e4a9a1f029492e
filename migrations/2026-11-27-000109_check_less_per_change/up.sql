-- Shorter than the second after which Postgres looks for deadlocks, as in 72.
SET LOCAL lock_timeout = '500ms';

-- Postgres parses and plans each check of a table again in each statement that writes it: for tickets,
-- comments and events a fifth of what writing a comment took. The types of `src/domain` keep the bounds.
ALTER TABLE tickets
    DROP CONSTRAINT tickets_summary,
    DROP CONSTRAINT tickets_description,
    DROP CONSTRAINT tickets_participants;
