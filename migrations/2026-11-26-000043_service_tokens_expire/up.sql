SET LOCAL lock_timeout = '2s';

-- When the token stops working, or NULL if it does not expire.
ALTER TABLE service_tokens ADD COLUMN expires_at timestamptz CHECK (expires_at > created_at);
