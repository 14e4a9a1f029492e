SET LOCAL lock_timeout = '2s';

-- The network that limits count the session's address under: the address, or the /64 of an IPv6
-- address. NULL if an earlier version began the session.
ALTER TABLE sessions ADD COLUMN network text;
