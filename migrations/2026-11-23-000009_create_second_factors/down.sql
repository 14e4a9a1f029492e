ALTER TABLE accounts DROP COLUMN session_generation;
ALTER TABLE sessions DROP COLUMN reauthenticated_at;
DROP TABLE mailed_codes;
DROP TABLE sign_in_challenges;
DROP TABLE recovery_codes;
DROP TABLE authenticator_enrolments;
DROP TABLE second_factors;
DROP TYPE second_factor_method;
