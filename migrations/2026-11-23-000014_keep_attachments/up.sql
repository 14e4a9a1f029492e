-- Files on tickets and comments. A row is written before its bytes are stored, so that bytes that a
-- crash leaves behind can be found and deleted.
CREATE TABLE attachments (
    id uuid PRIMARY KEY,
    uploader_id uuid NOT NULL REFERENCES accounts,
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    -- Set once all bytes are stored.
    size bigint CHECK (size > 0),
    content_type text CHECK (char_length(content_type) BETWEEN 1 AND 255),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    -- The ticket that it is attached to, on its description or, with `comment_id`, on a comment.
    ticket_id uuid REFERENCES tickets,
    comment_id uuid REFERENCES comments,
    position smallint NOT NULL DEFAULT 0,
    -- Set while its bytes are being deleted. Nothing may refer to it any more.
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
