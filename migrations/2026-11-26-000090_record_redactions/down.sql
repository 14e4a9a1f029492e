-- What was redacted stays so.
DROP TABLE redactions;
