//! Identifiers: one type a noun, so that a comment's id can't stand where a
//! ticket's is wanted.

use uuid::Uuid;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub Uuid);
    )+};
}

uuid_ids! {
    /// An account, of a customer or of staff.
    AccountId,
    /// A file on a ticket or comment.
    AttachmentId,
    /// A category of tickets.
    CategoryId,
    /// A comment or internal note on a ticket.
    CommentId,
    /// A mail on its way.
    DeliveryId,
    /// A link with which the control panel hands a customer over.
    HandoffId,
    /// Something on somebody's bell.
    NotificationId,
    /// What a machine signs in with.
    ServiceTokenId,
    /// A signed-in session.
    SessionId,
    /// A ticket. People see its [number](super::ticket::TicketNumber) instead.
    TicketId,
}

/// An event of the log. Within one ticket ids rise in the order of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);
