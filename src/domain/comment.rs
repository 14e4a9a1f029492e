//! Comments and internal notes.

use chrono::TimeDelta;

use super::{
    clock::Timestamp,
    ids::{AccountId, CommentId, TicketId},
};

/// How long after it was posted the author may edit a comment.
pub const EDIT_WINDOW: TimeDelta = TimeDelta::minutes(15);
/// How often a comment may be edited.
pub const MAX_EDITS: i16 = 20;

/// Who may read a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone who may see the ticket.
    Public,
    /// Staff only. The comment is an internal note.
    Internal,
}

/// A comment or internal note on a ticket.
#[derive(Clone, Debug)]
pub struct Comment {
    /// The comment's id.
    pub id: CommentId,
    /// The ticket that the comment belongs to.
    pub ticket_id: TicketId,
    /// The author.
    pub author_id: AccountId,
    /// Who may read the comment.
    pub visibility: Visibility,
    /// The text. Empty if it was redacted.
    pub body: String,
    /// When the comment was posted.
    pub created_at: Timestamp,
    /// When the author last edited it, or `None`.
    pub edited_at: Option<Timestamp>,
    /// When it was redacted, or `None`.
    pub redacted_at: Option<Timestamp>,
}

impl Comment {
    /// Whether the time in which the author may edit the comment has passed.
    pub fn is_edit_overdue(&self, now: Timestamp) -> bool {
        now - self.created_at > EDIT_WINDOW
    }
}

/// A text that a comment had before its author edited it.
#[derive(Clone, Debug)]
pub struct EarlierBody {
    /// The comment.
    pub comment_id: CommentId,
    /// The text.
    pub body: String,
    /// When the next text replaced it.
    pub replaced_at: Timestamp,
}
