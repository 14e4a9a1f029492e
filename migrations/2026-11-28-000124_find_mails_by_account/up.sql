-- The erasure of an account finds the mails to it, and those to its address that name no account, without
-- reading all mails.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_account ON deliveries (account_id, address);
