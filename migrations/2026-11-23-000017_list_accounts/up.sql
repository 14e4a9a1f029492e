-- For the admins' list of accounts by address and role: staff are few among the customers.
CREATE INDEX accounts_role_email ON accounts (role, email);
