DROP TABLE ticket_reads;
DROP INDEX tickets_follow_ups;
-- 119 drops it too.
DROP INDEX IF EXISTS tickets_resolved;
ALTER TABLE tickets
    DROP COLUMN resolved_at,
    DROP COLUMN follow_up_to_id,
    DROP COLUMN public_seq,
    DROP COLUMN public_actor_id,
    DROP COLUMN public_seq_by_others,
    DROP COLUMN any_seq,
    DROP COLUMN any_actor_id,
    DROP COLUMN any_seq_by_others;
