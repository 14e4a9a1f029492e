//! Comments and internal notes.

use super::{
    clock::Timestamp,
    ids::{AccountId, CommentId, TicketId},
};

/// Who may read a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everybody who may see the ticket.
    Public,
    /// Staff only: an internal note.
    Internal,
}

/// A comment or internal note on a ticket.
#[derive(Clone, Debug)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The ticket that it is on.
    pub ticket_id: TicketId,
    /// Who wrote it.
    pub author_id: AccountId,
    /// Who may read it.
    pub visibility: Visibility,
    /// What it says.
    pub body: String,
    /// When it was posted.
    pub created_at: Timestamp,
}
