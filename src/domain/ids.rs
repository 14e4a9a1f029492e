//! Identifiers. Each noun has its own type, so that ids of different nouns cannot be confused.

use uuid::Uuid;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub Uuid);
    )+};
}

uuid_ids! {
    /// The id of an account of a customer or a member of staff.
    AccountId,
    /// The id of a file on a ticket or comment.
    AttachmentId,
    /// The id of a canned answer.
    CannedAnswerId,
    /// The id of a category of tickets.
    CategoryId,
    /// The id of a comment or internal note.
    CommentId,
    /// The id of a mail to be sent.
    DeliveryId,
    /// The id of a handoff from the control panel.
    HandoffId,
    /// The id of a notification.
    NotificationId,
    /// The id of a saved view.
    SavedViewId,
    /// The id of a service token.
    ServiceTokenId,
    /// The id of an event that a consumer set aside.
    SetAsideId,
    /// The id of a session.
    SessionId,
    /// The id of an invitation to take part in a ticket.
    TicketInvitationId,
    /// The id of a ticket. People see its [number](super::ticket::TicketNumber) instead.
    TicketId,
}

/// The id of an event of the log. Within a ticket, ids rise in the order of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);
