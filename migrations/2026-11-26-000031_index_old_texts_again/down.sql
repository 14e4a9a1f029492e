-- The index finds more than before, which the previous version can read.
SELECT 1
