SET LOCAL lock_timeout = '2s';

-- How often an account has changed in what others see of it: one row. A node keeps accounts in
-- memory, and reads this number with the tickets that name them.
CREATE TABLE account_changes (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number bigint NOT NULL
);
INSERT INTO account_changes (number) VALUES (1);

CREATE FUNCTION count_account_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE account_changes SET number = number + 1;
    RETURN NULL;
END
$$;

-- Deferred: a transaction that holds the row waits for no other lock, so that none deadlock.
CREATE CONSTRAINT TRIGGER accounts_counted
    AFTER UPDATE OF email, name, role, locale, disabled_at, session_generation ON accounts
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN ((OLD.email, OLD.name, OLD.role, OLD.locale, OLD.disabled_at, OLD.session_generation)
        IS DISTINCT FROM
        (NEW.email, NEW.name, NEW.role, NEW.locale, NEW.disabled_at, NEW.session_generation))
    EXECUTE FUNCTION count_account_change();
