-- A constraint cannot become unchecked again, and its removal is that of migration 52.
SELECT 1
