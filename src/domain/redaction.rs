//! Redaction: erasing texts and files that people sent.

use std::time::Duration;

use super::{
    account::Locale,
    clock::Timestamp,
    erasure::SETTLING,
    ids::{AttachmentId, CommentId, TicketId},
};

/// How long a message that many subscribers receive is shared at most.
pub const SHARED_MESSAGE_MAX_AGE: Duration = Duration::from_millis(750);

/// How long the node that posts a comment delivers it from memory at most.
pub const POSTED_COMMENT_MAX_AGE: Duration = Duration::from_millis(250);

/// After this time no node delivers a text that was erased: a message may be executed with a comment
/// from memory, and then be shared. A redaction or edit returns after it.
pub const ERASED_TEXT_MAX_AGE: Duration =
    SHARED_MESSAGE_MAX_AGE.saturating_add(POSTED_COMMENT_MAX_AGE);

/// A text of a ticket itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketText {
    /// The summary.
    Summary,
    /// The description.
    Description,
}

/// What was erased from a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedactedContent {
    /// The summary.
    Summary,
    /// The description.
    Description,
    /// The text of a comment.
    Comment {
        /// The comment.
        comment_id: CommentId,
    },
    /// A file.
    Attachment {
        /// The attachment.
        attachment_id: AttachmentId,
        /// The comment that it was attached to, or `None` if it was on the description.
        comment_id: Option<CommentId>,
    },
}

impl RedactedContent {
    /// The comment that the content is or belongs to.
    pub fn comment(&self) -> Option<CommentId> {
        match *self {
            Self::Summary | Self::Description => None,
            Self::Comment { comment_id } => Some(comment_id),
            Self::Attachment { comment_id, .. } => comment_id,
        }
    }
}

/// A redaction of a single text or file, as the database and the ledger of erasures record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Redaction {
    /// The ticket.
    pub ticket_id: TicketId,
    /// What was erased.
    pub content: RedactedContent,
    /// When it was erased.
    pub redacted_at: Timestamp,
}

impl Redaction {
    /// Returns the name of what was erased: unique, and the name of a file.
    pub fn name(&self) -> String {
        match self.content {
            RedactedContent::Summary => format!("summary-{}", self.ticket_id.0),
            RedactedContent::Description => format!("description-{}", self.ticket_id.0),
            RedactedContent::Comment { comment_id } => format!("comment-{}", comment_id.0),
            RedactedContent::Attachment { attachment_id, .. } => {
                format!("attachment-{}", attachment_id.0)
            }
        }
    }

    /// Whether the transaction that has erased the content has ended.
    pub fn has_settled(&self, now: Timestamp) -> bool {
        now - self.redacted_at >= SETTLING
    }
}

/// Returns a text as mails show it: a redacted one, which is empty, is named as such.
pub fn displayed(text: &str, locale: Locale) -> &str {
    match (text, locale) {
        ("", Locale::En) => "(removed)",
        ("", Locale::Ru) => "(удалено)",
        (text, _) => text,
    }
}
