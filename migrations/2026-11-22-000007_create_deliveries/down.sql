DROP TABLE mail_unsubscriptions;
DROP TABLE delivery_events;
DROP TABLE deliveries;
DROP TYPE delivery_state;
