SET LOCAL lock_timeout = '2s';

-- Settings that all nodes share: one row. No node decides them by its own configuration.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Whether mail goes out, or NULL until the first node with a mail server switches it on.
    mail_enabled boolean,
    -- How mails are planned. The nodes with a mail server write it at their start.
    mail_window_seconds integer NOT NULL DEFAULT 30 CHECK (mail_window_seconds BETWEEN 0 AND 3600),
    mail_staff_addresses text NOT NULL DEFAULT '',
    mail_staff_locale locale NOT NULL DEFAULT 'en'
);
INSERT INTO installation DEFAULT VALUES;
