-- The order in which mails are claimed: first the priority mail that is of use for an hour at most
-- and was not tried yet, then all others as they become due. Replaces deliveries_due, which the
-- previous version uses and a later release drops.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_turn ON deliveries (
    (priority AND attempts = 0 AND coalesce(expires_at - created_at <= interval '1 hour', true)) DESC,
    due_at, seq
) WHERE state IN ('queued', 'sending')
