DROP FUNCTION person_pattern(text);
DROP FUNCTION person_key(text);
