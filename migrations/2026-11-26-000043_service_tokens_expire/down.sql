-- Expired tokens work again: revoke them before.
ALTER TABLE service_tokens DROP COLUMN expires_at;
