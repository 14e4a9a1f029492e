DROP TABLE sessions;
DROP TABLE accounts;
DROP TYPE locale;
DROP TYPE account_role;
