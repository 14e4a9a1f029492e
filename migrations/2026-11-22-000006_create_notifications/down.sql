DROP TABLE mail_preferences;
DROP TABLE notifications;
DROP TYPE notification_kind;
DROP TABLE consumer_offsets;
