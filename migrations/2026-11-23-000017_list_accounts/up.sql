-- The admins' list of accounts, by address, can be of one role: the staff are few among the customers.
CREATE INDEX accounts_role_email ON accounts (role, email);
