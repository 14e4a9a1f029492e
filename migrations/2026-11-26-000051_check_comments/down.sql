-- A constraint cannot become unchecked again, and its removal is that of migration 50.
SELECT 1
