-- Replaces accounts_people, which the previous version uses and a later release drops.
CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_person_keys ON accounts
    USING gin (person_key(name) gin_trgm_ops, person_key(email) gin_trgm_ops)
