//! Comments and internal notes.

use super::{
    clock::Timestamp,
    ids::{AccountId, CommentId, TicketId},
};

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
    /// The text.
    pub body: String,
    /// When the comment was posted.
    pub created_at: Timestamp,
}
