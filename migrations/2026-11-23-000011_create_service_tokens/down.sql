DROP TABLE handoffs;
ALTER TABLE accounts
    DROP COLUMN imported_hash,
    DROP COLUMN external_id;
DROP TABLE service_tokens;
