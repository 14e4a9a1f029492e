-- A file that came with a ticket's description or a comment. Its row is there before its
-- bytes, so that whatever a crash leaves of them can be found and deleted.
CREATE TABLE attachments (
    id uuid PRIMARY KEY,
    uploader_id uuid NOT NULL REFERENCES accounts,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Known when the bytes are stored as a whole.
    size bigint CHECK (size > 0),
    content_type text CHECK (char_length(content_type) BETWEEN 1 AND 255),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    -- What it belongs to: a ticket's description, or with `comment_id` a comment on it.
    ticket_id uuid REFERENCES tickets,
    comment_id uuid REFERENCES comments,
    position smallint NOT NULL DEFAULT 0,
    -- Its bytes are being deleted: nothing may refer to it any more.
    condemned_at timestamptz,
    created_at timestamptz NOT NULL,
    CHECK ((size IS NULL) = (sha256 IS NULL) AND (size IS NULL) = (content_type IS NULL)),
    CHECK (ticket_id IS NULL OR (size IS NOT NULL AND condemned_at IS NULL)),
    CHECK (comment_id IS NULL OR ticket_id IS NOT NULL)
);

CREATE INDEX attachments_ticket ON attachments (ticket_id, position) WHERE comment_id IS NULL;
CREATE INDEX attachments_comment ON attachments (comment_id, position) WHERE comment_id IS NOT NULL;
CREATE INDEX attachments_unused ON attachments (created_at) WHERE ticket_id IS NULL;
CREATE INDEX attachments_of_uploader ON attachments (uploader_id) WHERE ticket_id IS NULL;
