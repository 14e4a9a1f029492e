DROP INDEX events_account;
