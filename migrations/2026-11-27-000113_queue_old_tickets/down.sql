-- Undoing 112 removes the entries.
SELECT 1
