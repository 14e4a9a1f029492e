SET LOCAL lock_timeout = '2s';

DROP TRIGGER accounts_counted ON accounts;
DROP FUNCTION count_account_change();
DROP TABLE account_changes;
