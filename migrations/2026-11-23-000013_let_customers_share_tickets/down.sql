DROP INDEX notifications_ticket;
DELETE FROM notifications WHERE kind = 'participant_added';
DELETE FROM delivery_events WHERE kind = 'participant_added';
ALTER TYPE notification_kind RENAME TO notification_kind_later;
CREATE TYPE notification_kind AS ENUM (
    'ticket_created', 'ticket_opened', 'support_answered', 'status_changed', 'ticket_closed',
    'customer_answered', 'ticket_assigned'
);
ALTER TABLE notifications
    ALTER COLUMN kind TYPE notification_kind USING kind::text::notification_kind;
ALTER TABLE delivery_events
    ALTER COLUMN kind TYPE notification_kind USING kind::text::notification_kind;
DROP TYPE notification_kind_later;

ALTER TABLE events DROP COLUMN participant_ids;
DROP INDEX tickets_participants;
ALTER TABLE tickets
    DROP CONSTRAINT tickets_participants,
    DROP COLUMN participant_ids,
    DROP COLUMN past_participant_ids;
